"""KerasHabits: what programs do with a network that was a Keras layer in TF-Agents."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.networks.layer_utils import print_summary
from distpolicy.networks.weight_files import read_weights, write_weights
from distpolicy.utils.variables.module_variables import NamedVariable, named_variables
from distpolicy.utils.variables.variable_watch import mark_updated


class KerasHabits(tf.Module):
    """Variables, weights, layers and their summary. All of them create the variables if they do not exist yet."""

    _self_trainable = True

    def create_variables(self, input_tensor_spec: Any = None, **kwargs: Any) -> Any:
        """Creates the variables if they do not exist yet."""
        raise NotImplementedError

    def named_variables(self) -> list[NamedVariable]:
        """Returns all variables with their paths, each once, in a stable order.

        Raises:
            ValueError: If the variables do not exist yet and the network has no input specs.
        """
        self.create_variables()
        return named_variables(self)

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """All variables, trainable or not; see :meth:`named_variables`."""
        return tuple(item.variable for item in self.named_variables())

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that are trained."""
        return tuple(variable for variable in self.variables if self.trainable and variable.trainable)

    @property
    def non_trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that are not trained."""
        return tuple(variable for variable in self.variables if not (self.trainable and variable.trainable))

    @property
    def weights(self) -> tuple[tf.Variable, ...]:
        """The same as :attr:`variables`."""
        return self.variables

    @property
    def trainable_weights(self) -> tuple[tf.Variable, ...]:
        """The same as :attr:`trainable_variables`."""
        return self.trainable_variables

    @property
    def non_trainable_weights(self) -> tuple[tf.Variable, ...]:
        """The same as :attr:`non_trainable_variables`."""
        return self.non_trainable_variables

    @property
    def trainable(self) -> bool:
        """Whether the network is trained. Setting it freezes or releases the network's layers."""
        return self._self_trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        object.__setattr__(self, "_self_trainable", bool(value))
        for layer in keras_layers_of(self):
            layer.trainable = bool(value)

    def count_params(self) -> int:
        """Returns the number of elements of all variables."""
        return sum(int(variable.shape.num_elements()) for variable in self.variables)

    def get_weights(self) -> list[np.ndarray]:
        """Returns copies of the variables' values, in the order of :attr:`variables`."""
        return [variable.numpy() for variable in self.variables]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assigns values to the variables.

        Args:
            weights: One array for each variable, in the order of :attr:`variables`.

        Raises:
            ValueError: If their number or a shape differs. No variable is assigned then.
        """
        items = self.named_variables()
        if len(weights) != len(items):
            raise SpecMismatchError(f"{self.name} has {len(items)} variables, but {len(weights)} weights are given")
        arrays = [np.asarray(weight) for weight in weights]
        for item, array in zip(items, arrays, strict=True):
            if array.shape != tuple(item.variable.shape):
                raise SpecMismatchError(
                    f"{self.name}: {item.path} has the shape {tuple(item.variable.shape)}, "
                    f"but the weights have {array.shape}"
                )
        for item, array in zip(items, arrays, strict=True):
            item.variable.assign(tf.cast(array, item.variable.dtype))
        mark_updated(item.variable for item in items)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Writes the variables' values to a file of NumPy arrays, named by the variables' paths.

        Args:
            filepath: The file. It is written whole or not at all.
            overwrite: Whether an existing file is replaced.

        Raises:
            ValueError: If the file exists and is not to be replaced.
        """
        path = Path(filepath)
        if not overwrite and path.exists():
            raise ConfigError(f"{path} exists already; give another name, or overwrite=True")
        write_weights(path, {item.path: item.variable.numpy() for item in self.named_variables()})

    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Assigns the values that :meth:`save_weights` wrote. TF-Agents' files are not read.

        Raises:
            ValueError: If the file holds something else, or the weights of another network. No variable is assigned.
        """
        items = self.named_variables()
        arrays = read_weights(Path(filepath))
        paths = [item.path for item in items]
        if set(paths) != set(arrays):
            first = sorted(set(paths) ^ set(arrays))[0]
            where = "only the network" if first in paths else "only the file"
            raise SpecMismatchError(f"{filepath} holds the weights of another network: {where} has {first}")
        self.set_weights([arrays[path] for path in paths])

    @property
    def layers(self) -> list[Any]:
        """The Keras layers of this network and of the networks in it, each once."""
        return keras_layers_of(self)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Returns a layer by its name or its place in :attr:`layers`.

        Raises:
            ValueError: If both or none are given, or there is no such layer.
        """
        if (name is None) == (index is None):
            raise ConfigError("give a layer's name or its index")
        layers = self.layers
        if index is not None:
            if not 0 <= index < len(layers):
                raise ConfigError(f"{self.name} has {len(layers)} layers, so it has none of index {index}")
            return layers[index]
        for layer in layers:
            if getattr(layer, "name", None) == name:
                return layer
        raise ConfigError(f"{self.name} does not have a layer called {name!r}")

    @property
    def losses(self) -> list[tf.Tensor]:
        """Losses of the layers, such as weight decay."""
        return [loss for layer in keras_layers_of(self) for loss in layer.losses]

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
    ) -> None:
        """Prints a table of the layers; see :func:`distpolicy.networks.layer_utils.print_summary`.

        Args:
            line_length: Characters of a line.
            positions: Where the columns end.
            print_fn: Function that is called with each line; ``print`` if None.
        """
        print_summary(self, line_length=line_length, positions=positions, print_fn=print_fn)


def keras_layers_of(network: tf.Module) -> list[keras.Layer]:
    """Returns the Keras layers of a module and of the modules in it, each once."""
    return list({id(layer): layer for layer in _keras_layers(network, set())}.values())


def _keras_layers(node: Any, visited: set[int]) -> Iterator[keras.Layer]:
    if isinstance(node, keras.Layer):
        yield node
    elif isinstance(node, dict):
        for child in node.values():
            yield from _keras_layers(child, visited)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _keras_layers(child, visited)
    elif isinstance(node, tf.Module) and id(node) not in visited:
        visited.add(id(node))
        for name, value in vars(node).items():
            if not name.startswith("_self_"):
                yield from _keras_layers(value, visited)
