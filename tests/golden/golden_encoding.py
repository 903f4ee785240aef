"""Nests of arrays, tensors, specs and errors as JSON, and their comparison."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import Raised


def encode(value: Any) -> Any:
    """A nest as what JSON can hold; containers keep their kind, leaves their kind, dtype and shape.

    Raises:
        TypeError: For a leaf of another kind.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Raised):
        return {"raised": value.classes}
    if tf.is_tensor(value):
        return _encode_array("tensor", value.numpy())
    if isinstance(value, np.ndarray | np.generic):
        return _encode_array("array", np.asarray(value))
    if isinstance(value, tf.TensorShape):
        return {"shape": None if value.rank is None else value.as_list()}
    if isinstance(value, np.dtype | tf.DType):
        return {"dtype": tf.as_dtype(value).name}
    if hasattr(value, "_fields"):
        fields = {field: encode(getattr(value, field)) for field in value._fields}
        # The class that a wrapper of tf.Module's tracking stands for.
        return {"namedtuple": value.__class__.__name__, "fields": fields}
    if isinstance(value, dict):
        return {"dict": {str(key): encode(value[key]) for key in sorted(value)}}
    if isinstance(value, list | tuple):
        return {"list" if isinstance(value, list) else "tuple": [encode(item) for item in value]}
    if "Spec" in type(value).__name__:
        return _encode_spec(value)
    raise TypeError(f"a golden outcome cannot hold a {type(value).__name__}: {value!r}")


def _encode_array(kind: str, array: np.ndarray) -> dict[str, Any]:
    if array.dtype.kind in "SU":
        return {kind: array.astype(str).tolist(), "dtype": "string", "shape": list(array.shape)}
    values = array.ravel().tolist()
    if array.dtype.kind == "f":
        # Nine digits hold every float32.
        values = [float(f"{value:.9g}") for value in values]
    return {kind: values, "dtype": array.dtype.name, "shape": list(array.shape)}


def _encode_spec(spec: Any) -> dict[str, Any]:
    shape = tf.TensorShape(spec.shape).as_list()
    encoded = {"spec": type(spec).__name__, "shape": shape, "dtype": tf.as_dtype(spec.dtype).name, "name": spec.name}
    if hasattr(spec, "minimum"):
        encoded["minimum"] = np.asarray(spec.minimum).tolist()
        encoded["maximum"] = np.asarray(spec.maximum).tolist()
    return encoded


def differences(theirs: Any, ours: Any, tolerance: float = 2e-6, path: str = "") -> list[str]:
    """Where two encoded outcomes differ, a line a place; none if they agree.

    An error agrees if ours is an instance of a class of that name. Floats agree within ``tolerance``,
    absolute below 1 and relative above.
    """
    differ = [f"{path}: {_short(theirs)} != {_short(ours)}"]
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if "raised" in theirs and "raised" in ours:
            return [] if theirs["raised"][0] in ours["raised"] else differ
        if theirs.keys() != ours.keys():
            return differ
        return [line for key in theirs for line in differences(theirs[key], ours[key], tolerance, f"{path}/{key}")]
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            return differ
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, tolerance, f"{path}/{i}")]
    if isinstance(theirs, float) and isinstance(ours, float):
        both_nan = math.isnan(theirs) and math.isnan(ours)
        return [] if both_nan or math.isclose(theirs, ours, rel_tol=tolerance, abs_tol=tolerance) else differ
    return [] if type(theirs) is type(ours) and theirs == ours else differ


def _short(encoded: Any) -> str:
    text = str(encoded)
    return text if len(text) < 160 else f"{text[:157]}..."
