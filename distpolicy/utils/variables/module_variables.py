"""named_variables: finds every tf.Variable of a module and its path.

``tf.Module.variables`` does not see Keras 3 layers. The names of a layer's variables are not unique, and its
``variables`` include Dropout's seed state, which is not a weight: a checkpoint holds it, a policy's weights do not.
Therefore this module searches for variables itself: in attributes (in the natural order of their names), nests,
tf.Modules and Keras layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from distpolicy.utils.nests.array_nest import spelt
from distpolicy.utils.variables.pairing import natural_key


class NamedVariable(NamedTuple):
    """A variable and its path.

    Attributes:
        path: Attribute names, indices and layer paths joined by ``/``; unique in its module.
        variable: The tf.Variable.
    """

    path: str
    variable: tf.Variable


def named_variables(root: tf.Module, with_seeds: bool = False) -> list[NamedVariable]:
    """Returns the variables of a module and its submodules, trainable or not, each once, in a stable order.

    Args:
        root: The module.
        with_seeds: Whether the states of random layers, such as Dropout's, are among them.
    """
    found: list[NamedVariable] = []
    seen: set[int] = set()
    for path, variable in _walk(root, "", set(), with_seeds):
        if id(variable) not in seen:
            seen.add(id(variable))
            found.append(NamedVariable(path, variable))
    return found


def _walk(node: Any, path: str, visited: set[int], with_seeds: bool) -> Iterator[tuple[str, tf.Variable]]:
    if isinstance(node, tf.Variable):
        yield path, node
    elif isinstance(node, keras.Variable):
        yield path, node.value
    elif isinstance(node, keras.Layer):
        weights = node.weights
        nested = len({weight.name for weight in weights}) < len(weights)
        for index, weight in enumerate(weights):
            # A weight's own path contains automatic layer names, which differ between two instances of a network.
            # The attribute's name and the place in the layer replace them.
            yield _join(path, f"{index}/{weight.name}" if nested else weight.name), _with_trainable(weight)
        if with_seeds:
            yield from ((_join(path, f"seeds/{index}"), state) for index, state in enumerate(_seed_states(node)))
    elif isinstance(node, dict):
        for key in sorted(node, key=lambda item: natural_key(str(item))):
            yield from _walk(node[key], _join(path, spelt(key)), visited, with_seeds)
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from _walk(child, _join(path, str(index)), visited, with_seeds)
    elif isinstance(node, tf.Module) and id(node) not in visited:
        visited.add(id(node))
        attributes = vars(node)
        if "_variables_by_path" in attributes:
            # A policy from a SavedModel has no layers to walk, but it knows the original paths of its variables.
            for item in attributes["_variables_by_path"]:
                yield _join(path, item.path), item.variable
            return
        for name in sorted(attributes, key=natural_key):
            # These attributes are tf.Module's own bookkeeping, or marked as not to be searched.
            if name not in _BOOKKEEPING and not name.startswith("_self_"):
                yield from _walk(attributes[name], _join(path, name.lstrip("_")), visited, with_seeds)


def _seed_states(layer: keras.Layer) -> list[tf.Variable]:
    """Returns the states of the random draws of a layer and of those in it. Keras has no public way to them.

    A recurrent cell without dropout is left out: it has a state, of a random beginning, and never draws.
    """
    drawing = [
        item
        for item in layer._flatten_layers()
        if getattr(item, "dropout", None) != 0 or getattr(item, "recurrent_dropout", None) != 0
    ]
    return [generator.state.value for item in drawing for generator in item._seed_generators]


def _with_trainable(weight: keras.Variable) -> tf.Variable:
    """Returns the tf.Variable of a Keras variable. It is trainable if the Keras variable is.

    Keras freezes a layer without telling the tf.Variables, which agents ask. TensorFlow has no public setter.
    """
    variable = weight.value
    if variable.trainable != weight.trainable:
        variable._trainable = weight.trainable
    return variable


_BOOKKEEPING = frozenset({"_name", "_scope_name", "_name_scope", "_TF_MODULE_IGNORED_PROPERTIES"})


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
