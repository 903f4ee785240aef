"""Conversion of distributions to plain data and tensors, and back.

A SavedModel with functions that return TFP distributions cannot be loaded without TFP, and for many distributions it
cannot even be written. Therefore only the tensors are saved, together with a JSON description of the distributions.
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
# Names are only for messages. TFP's classes use `parameters` to pass the other arguments to their base classes.
_LEFT_OUT = frozenset({"name", "parameters", "self"})


def encode_distribution(distribution: tfp.distributions.Distribution) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits a distribution into a description and tensors.

    Args:
        distribution: A distribution from TFP or distpolicy. It may contain other such distributions and bijectors.

    Returns:
        A description that JSON can hold, and a nest of dicts of the tensors by argument.

    Raises:
        TypeError: If it contains anything else, such as a user's distribution class. The message names the argument.
    """
    tensors: dict[str, Any] = {}
    return _encode(distribution, type(distribution).__name__, tensors, None), tensors


def decode_distribution(description: dict[str, Any], tensors: dict[str, Any]) -> Any:
    """Rebuilds a distribution from the results of :func:`encode_distribution`.

    Args:
        description: The description. Only classes of TFP and distpolicy are ever created from it.
        tensors: The tensors, or other ones of the same structure.

    Raises:
        CheckpointError: If the description cannot be read, or names classes that do not exist.
    """
    try:
        return _decode(description, tensors)
    except (AttributeError, ImportError, KeyError, IndexError, TypeError, ValueError) as error:
        raise CheckpointError(f"the description of a distribution cannot be read: {error}") from error


def _encode(value: Any, where: str, tensors: dict[str, Any], key: str | None) -> Any:
    """Returns the description of one value. Its tensors are added to ``tensors``, below ``key`` if given."""
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
    """Returns the constructor's arguments that differ from their defaults."""
    signature = inspect.signature(type(value).__init__)
    arguments = []
    for name, argument in value.parameters.items():
        if name in _LEFT_OUT:
            continue
        if name not in signature.parameters:
            raise TypeError(f"{where}: {type(value).__name__} does not have the argument {name!r} of its `parameters`")
        default = signature.parameters[name].default
        if argument is not default:
            arguments.append((name, argument))
    return arguments


def _class_name(value: Any, where: str) -> str:
    module = type(value).__module__
    if module.startswith("distpolicy."):
        return f"{module}.{type(value).__qualname__}"
    if module.startswith("tensorflow_probability."):
        # Some of TFP's constructors create an object of a private subclass of the public class.
        for kind in type(value).__mro__:
            for prefix, public in _PUBLIC.items():
                if getattr(public, kind.__name__, None) is kind:
                    return f"{prefix}.{kind.__name__}"
    raise TypeError(
        f"{where} is a {module}.{type(value).__qualname__}; only classes of TFP and distpolicy can be saved"
    )


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
    """Returns the class with this name. For safety, only distributions and bijectors are accepted."""
    module, _, attribute = name.rpartition(".")
    if module in _PUBLIC:
        found = getattr(_PUBLIC[module], attribute)
    elif module.startswith("distpolicy."):
        found = getattr(importlib.import_module(module), attribute)
    else:
        raise AttributeError(f"{name} belongs neither to TFP nor to distpolicy")
    if not (isinstance(found, type) and issubclass(found, tfp.distributions.Distribution | tfp.bijectors.Bijector)):
        raise TypeError(f"{name} is neither a distribution nor a bijector")
    return found
