"""The parameters of distributions, bijectors and linear operators as data that can be changed and made into objects.

``distributions.utils`` exports these names, as in TF-Agents.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.errors import SpecMismatchError
from distpolicy.utils.nest_utils import flatten_with_joined_paths


@dataclass
class Params:
    """The arguments that an object was made with, without those that have their default value.

    Attributes:
        type_: Class of the object.
        params: The arguments by name. Objects that have parameters themselves are Params, in nests, too.
    """

    type_: type[Any]
    params: dict[str, Any]


def get_parameters(value: Any) -> Params:
    """Returns the parameters of an object and of the objects that it was made with.

    Args:
        value: A distribution, a bijector, a linear operator or another object with a dict ``parameters``.

    Raises:
        TypeError: If ``value`` does not have such parameters.
    """
    given = getattr(value, "parameters", None)
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{value!r} does not have a dict of parameters; give a distribution, bijector or linear operator"
        )
    signature = inspect.signature(type(value).__init__).parameters
    params = {
        name: tf.nest.map_structure(_parameters_or_itself, argument)
        for name, argument in given.items()
        # TFP's classes pass `parameters` on to their base classes.
        if name != "parameters" and (name not in signature or argument is not signature[name].default)
    }
    return Params(_public_class(type(value)), params)


def make_from_parameters(value: Params) -> Any:
    """Makes the object that parameters describe.

    Raises:
        Exception: Whatever the class raises if it does not take these arguments.
    """
    made = {name: _map_params(make_from_parameters, argument) for name, argument in value.params.items()}
    return value.type_(**made)


def parameters_to_dict(value: Params, tensors_only: bool = False) -> dict[str, Any]:
    """Returns the parameters as nested dicts without classes.

    Args:
        value: The parameters.
        tensors_only: Whether only tensors and specs are kept.

    Returns:
        The arguments by name. A leaf of an argument that is a nest has the key ``name:path``. Params are dicts.
    """
    entries: dict[str, Any] = {}
    for key, leaf in _leaves(value):
        if isinstance(leaf, Params):
            entries[key] = parameters_to_dict(leaf, tensors_only)
        elif not tensors_only or tf.is_tensor(leaf) or isinstance(leaf, tf.TypeSpec):
            entries[key] = leaf
    return entries


def merge_to_parameters_from_dict(value: Params, params_dict: Mapping[str, Any] | None) -> Params:
    """Returns parameters with the entries of a dict instead of their own.

    Args:
        value: The parameters.
        params_dict: What :func:`parameters_to_dict` returned for them, changed. Entries that are missing or None stay
            as they are in ``value``.

    Raises:
        ValueError: If the dict has an entry that the parameters do not have.
        KeyError: If it has some leaves of a nest and not the others.
    """
    changes = {} if params_dict is None else dict(params_dict)
    known = [key for key, _ in _leaves(value)]
    if unknown := sorted(set(changes) - set(known)):
        raise SpecMismatchError(f"the parameters have no {unknown[0]!r}; they have {sorted(known)}")

    def merged(key: str, leaf: Any) -> Any:
        if isinstance(leaf, Params):
            return merge_to_parameters_from_dict(leaf, changes.get(key))
        return leaf if changes.get(key) is None else changes[key]

    params = {}
    for name, argument in value.params.items():
        own = Params(value.type_, {name: argument})
        leaves = _leaves(own)
        if tf.nest.is_nested(argument):
            given = {key for key, _ in leaves if changes.get(key) is not None}
            if given and len(given) < len(leaves):
                missing = sorted({key for key, _ in leaves} - given)
                raise KeyError(f"{sorted(given)} without {missing}: give all leaves of {name!r}, or none")
        new = [merged(key, leaf) for key, leaf in leaves]
        params[name] = tf.nest.pack_sequence_as(argument, new) if tf.nest.is_nested(argument) else new[0]
    return Params(value.type_, params)


def specs_of_parameters(value: Params) -> Params:
    """Returns parameters with the specs of one row, ``[*shape]``, instead of tensors ``[B, *shape]``."""

    def spec(leaf: Any) -> Any:
        if isinstance(leaf, Params):
            return specs_of_parameters(leaf)
        return tf.TensorSpec(leaf.shape[1:], leaf.dtype) if tf.is_tensor(leaf) else leaf

    params = {name: tf.nest.map_structure(spec, argument) for name, argument in value.params.items()}
    return Params(value.type_, params)


def holds_tensors(value: Params) -> bool:
    """Returns True if a leaf is a tensor."""
    return any(holds_tensors(leaf) if isinstance(leaf, Params) else tf.is_tensor(leaf) for _, leaf in _leaves(value))


def _leaves(value: Params) -> list[tuple[str, Any]]:
    found = []
    for name, argument in value.params.items():
        if tf.nest.is_nested(argument):
            found += [(f"{name}:{path}", leaf) for path, leaf in flatten_with_joined_paths(argument)]
        else:
            found.append((name, argument))
    return found


def _parameters_or_itself(value: Any) -> Any:
    return value if getattr(value, "parameters", None) is None else get_parameters(value)


def _map_params(function: Callable[[Params], Any], nest: Any) -> Any:
    return tf.nest.map_structure(lambda leaf: function(leaf) if isinstance(leaf, Params) else leaf, nest)


def _public_class(kind: type[Any]) -> type[Any]:
    """Returns the class that users know: some of TFP's constructors make an object of a private subclass."""
    if kind.__module__.startswith("tensorflow_probability."):
        for base in kind.__mro__:
            if base in (getattr(module, base.__name__, None) for module in (tfp.distributions, tfp.bijectors)):
                return base
    return kind
