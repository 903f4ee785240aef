"""Distributions as plain data and tensors, and back.

A SavedModel whose functions return TFP distributions cannot be loaded without TFP, and for many distributions not be
written. So what is saved are the tensors, and beside them a description in JSON of the objects that they belong to.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.errors import CheckpointError
from distpolicy.specs import tensor_spec

_PUBLIC = {"tfp.distributions": tfp.distributions, "tfp.bijectors": tfp.bijectors}
# Names are for messages, and `parameters` is how TFP's classes tell their bases of the other arguments.
_LEFT_OUT = frozenset({"name", "parameters", "self"})


def encode_distribution(distribution: tfp.distributions.Distribution) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a distribution is made of.

    Args:
        distribution: One of TFP's or distpolicy's, with any such distributions and bijectors in it.

    Returns:
        A description that JSON can hold, and a nest of dicts of the tensors by argument.

    Raises:
        TypeError: If it holds something else, such as a distribution class of the user's; it names the argument.
    """
    tensors: dict[str, Any] = {}
    return _encode(distribution, type(distribution).__name__, tensors, None), tensors


def decode_distribution(description: dict[str, Any], tensors: dict[str, Any]) -> Any:
    """The distribution that :func:`encode_distribution` gave the description and the tensors of.

    Args:
        description: As it was given; no class outside TFP and distpolicy is ever made of it.
        tensors: The tensors, or others in their place.

    Raises:
        CheckpointError: If the description cannot be read, or its classes are not here.
    """
    try:
        return _decode(description, tensors)
    except (AttributeError, ImportError, KeyError, IndexError, TypeError, ValueError) as error:
        raise CheckpointError(f"the description of a distribution cannot be read: {error}") from error


def _encode(value: Any, where: str, tensors: dict[str, Any], key: str | None) -> Any:
    """The description of one value; its tensors go into ``tensors``, below ``key`` if that is given."""
    if isinstance(value, tfp.distributions.Distribution | tfp.bijectors.Bijector):
        below = tensors if key is None else {}
        arguments = {
            name: _encode(argument, f"{where}.{name}", below, name) for name, argument in _arguments(value, where)
        }
        if key is not None and below:
            tensors[key] = below
        return {"class": _class_name(value, where), "arguments": arguments}
    if tf.is_tensor(value) or isinstance(value, tf.Variable | np.ndarray | np.generic):
        assert key is not None
        tensors[key] = tf.convert_to_tensor(value)
        return {"tensor": key}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    if isinstance(value, tf.DType) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"dtype": tf.as_dtype(value).name}
    if isinstance(value, tf.TensorSpec):
        bounds = {}
        if tensor_spec.is_bounded(value):
            bounds = {"minimum": value.minimum.tolist(), "maximum": value.maximum.tolist()}
        return {"spec": {"shape": value.shape.as_list(), "dtype": value.dtype.name, "name": value.name, **bounds}}
    if isinstance(value, list | tuple):
        assert key is not None
        below = {}
        items = [_encode(item, f"{where}[{index}]", below, str(index)) for index, item in enumerate(value)]
        if below:
            tensors[key] = below
        return {"tuple" if isinstance(value, tuple) else "list": items}
    raise TypeError(f"{where} is a {type(value).__name__}, which cannot be saved")


def _arguments(value: Any, where: str) -> list[tuple[str, Any]]:
    """The constructor's arguments that are not at their defaults."""
    signature = inspect.signature(type(value).__init__)
    arguments = []
    for name, argument in value.parameters.items():
        if name in _LEFT_OUT:
            continue
        if name not in signature.parameters:
            raise TypeError(f"{where}: its `parameters` hold {name!r}, which is no argument of {type(value).__name__}")
        default = signature.parameters[name].default
        if argument is not default:
            arguments.append((name, argument))
    return arguments


def _class_name(value: Any, where: str) -> str:
    module = type(value).__module__
    if module.startswith("distpolicy."):
        return f"{module}.{type(value).__qualname__}"
    if module.startswith("tensorflow_probability."):
        # Some of TFP's constructors make an object of a class of their own below the public one.
        for kind in type(value).__mro__:
            for prefix, public in _PUBLIC.items():
                if getattr(public, kind.__name__, None) is kind:
                    return f"{prefix}.{kind.__name__}"
    raise TypeError(f"{where} is a {module}.{type(value).__qualname__}; only TFP's and distpolicy's can be saved")


def _decode(description: dict[str, Any], tensors: Any) -> Any:
    if "class" in description:
        arguments = {
            name: _decode(argument, tensors if "tensor" in argument else _below(tensors, name))
            for name, argument in description["arguments"].items()
        }
        return _class(description["class"])(**arguments)
    if "tensor" in description:
        return tensors[description["tensor"]]
    if "dtype" in description:
        return tf.as_dtype(description["dtype"])
    if "spec" in description:
        kind = tensor_spec.BoundedTensorSpec if "minimum" in description["spec"] else tensor_spec.TensorSpec
        return kind(**description["spec"])
    if "list" in description or "tuple" in description:
        items = description["list"] if "list" in description else description["tuple"]
        made = [
            _decode(item, tensors if "tensor" in item else _below(tensors, str(index)))
            for index, item in enumerate(items)
        ]
        return tuple(made) if "tuple" in description else made
    return description["value"]


def _below(tensors: Any, key: str) -> Any:
    return tensors.get(key, {}) if isinstance(tensors, dict) else {}


def _class(name: str) -> type:
    """The class of that name; what a file says is looked up among distributions and bijectors only."""
    module, _, attribute = name.rpartition(".")
    if module in _PUBLIC:
        found = getattr(_PUBLIC[module], attribute)
    elif module.startswith("distpolicy."):
        found = getattr(importlib.import_module(module), attribute)
    else:
        raise AttributeError(f"{name} is neither TFP's nor distpolicy's")
    if not (isinstance(found, type) and issubclass(found, tfp.distributions.Distribution | tfp.bijectors.Bijector)):
        raise TypeError(f"{name} is neither a distribution nor a bijector")
    return found
