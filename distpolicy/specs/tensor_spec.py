"""Specs of tensors, and conversion from and to those of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

# tf.TensorSpec's bounded form: public in TF-Agents, and what its SavedModels hold.
from tensorflow.python.framework.tensor_spec import BoundedTensorSpec

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec

TensorSpec = tf.TensorSpec

__all__ = [
    "BoundedTensorSpec",
    "TensorSpec",
    "add_outer_dims",
    "from_spec",
    "is_bounded",
    "is_continuous",
    "is_discrete",
    "to_array_spec",
    "to_nest_array_spec",
    "zero_spec_nest",
]


def from_spec(spec: Any) -> Any:
    """The nest with every array spec turned into a tensor spec; tensor specs stay as they are.

    Raises:
        SpecMismatchError: For a leaf that is neither.
    """
    return tf.nest.map_structure(_tensor_spec, spec)


def _tensor_spec(spec: Any) -> Any:
    if isinstance(spec, BoundedArraySpec):
        return BoundedTensorSpec(spec.shape, spec.dtype, spec.minimum, spec.maximum, spec.name)
    if isinstance(spec, ArraySpec):
        return TensorSpec(spec.shape, spec.dtype, spec.name)
    if isinstance(spec, tf.TypeSpec):
        return spec
    raise SpecMismatchError(f"no known conversion to a tensor spec from {type(spec).__name__}: {spec!r}")


def to_array_spec(spec: Any) -> ArraySpec:
    """The array spec of one tensor spec; open dimensions become None."""
    if isinstance(spec, ArraySpec):
        return spec
    shape = tuple(spec.shape.as_list())
    if isinstance(spec, BoundedTensorSpec):
        return BoundedArraySpec(shape, spec.dtype.as_numpy_dtype, spec.minimum, spec.maximum, spec.name)
    return ArraySpec(shape, spec.dtype.as_numpy_dtype, spec.name)


def to_nest_array_spec(nest: Any) -> Any:
    """:func:`to_array_spec` over a nest."""
    return tf.nest.map_structure(to_array_spec, nest)


def is_bounded(spec: Any) -> bool:
    """Whether the spec has bounds."""
    return isinstance(spec, BoundedTensorSpec | BoundedArraySpec)


def is_discrete(spec: Any) -> bool:
    """Whether the spec's dtype is an integer."""
    return tf.as_dtype(spec.dtype).is_integer


def is_continuous(spec: Any) -> bool:
    """Whether the spec's dtype is a float."""
    return tf.as_dtype(spec.dtype).is_floating


def add_outer_dims(nest: Any, outer_dims: tuple[int | None, ...]) -> Any:
    """The specs with ``outer_dims`` before each shape; bounds stay as they are, they broadcast."""

    def add(spec: Any) -> Any:
        shape = tf.TensorShape(outer_dims).concatenate(spec.shape)
        if isinstance(spec, BoundedTensorSpec):
            return BoundedTensorSpec(shape, spec.dtype, spec.minimum, spec.maximum, spec.name)
        return TensorSpec(shape, spec.dtype, spec.name)

    return tf.nest.map_structure(add, nest)


def zero_spec_nest(nest: Any, outer_dims: Any = None) -> Any:
    """Zeros of each spec's shape and dtype.

    Args:
        nest: Tensor specs.
        outer_dims: A list or a 1-D tensor of dimensions to put before each shape, or None.
    """
    outer = np.zeros(0, np.int32) if outer_dims is None else outer_dims

    def zeros(spec: Any) -> Any:
        shape = tf.concat([tf.cast(outer, tf.int32), tf.constant(spec.shape.as_list(), tf.int32)], axis=0)
        return tf.zeros(shape, spec.dtype)

    return tf.nest.map_structure(zeros, nest)
