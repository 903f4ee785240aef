"""Specs of tensors, and conversion from and to array specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

# The bounded form of tf.TensorSpec. It is public in TF-Agents and part of its SavedModels.
from tensorflow.python.framework.tensor_spec import BoundedTensorSpec

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.spec_proto import encode, encode_to_file, from_packed_proto, from_pbtxt_file, from_proto
from distpolicy.specs.uniform_tensor_draw import draw_uniform

TensorSpec = tf.TensorSpec

__all__ = [
    "BoundedTensorSpec",
    "TensorSpec",
    "add_outer_dim",
    "add_outer_dims_nest",
    "from_packed_proto",
    "from_pbtxt_file",
    "from_proto",
    "from_spec",
    "is_bounded",
    "is_continuous",
    "is_discrete",
    "remove_outer_dims_nest",
    "sample_bounded_spec",
    "sample_spec_nest",
    "to_array_spec",
    "to_nest_array_spec",
    "to_pbtxt_file",
    "to_proto",
    "with_dtype",
    "zero_spec_nest",
]


def from_spec(spec: Any) -> Any:
    """Converts every array spec of a nest to a tensor spec. Tensor specs stay unchanged.

    Raises:
        SpecMismatchError: If a leaf is neither.
    """
    return tf.nest.map_structure(_tensor_spec, spec)


def _tensor_spec(spec: Any) -> Any:
    if isinstance(spec, BoundedArraySpec):
        return BoundedTensorSpec(spec.shape, spec.dtype, spec.minimum, spec.maximum, spec.name)
    if isinstance(spec, ArraySpec):
        return TensorSpec(spec.shape, spec.dtype, spec.name)
    if isinstance(spec, tf.TypeSpec):
        return spec
    raise SpecMismatchError(f"cannot convert a {type(spec).__name__} to a tensor spec: {spec!r}")


def to_array_spec(tensor_spec: Any) -> Any:
    """Converts every tensor spec of a nest to an array spec. Open dimensions become None.

    Raises:
        SpecMismatchError: If a leaf is neither a tensor spec nor an array spec, or its rank is unknown.
    """
    return tf.nest.map_structure(_array_spec, tensor_spec)


def _array_spec(spec: Any) -> ArraySpec:
    if isinstance(spec, ArraySpec):
        return spec
    if not isinstance(spec, tf.TensorSpec):
        raise SpecMismatchError(f"cannot convert a {type(spec).__name__} to an array spec: {spec!r}")
    if spec.shape.rank is None:
        raise SpecMismatchError(f"spec {spec.name!r} has unknown rank, but an array spec needs one; give it a shape")
    shape = tuple(spec.shape.as_list())
    if isinstance(spec, BoundedTensorSpec):
        return BoundedArraySpec(shape, spec.dtype.as_numpy_dtype, spec.minimum, spec.maximum, spec.name)
    return ArraySpec(shape, spec.dtype.as_numpy_dtype, spec.name)


def to_nest_array_spec(nest_array_spec: Any) -> Any:
    """Does the same as :func:`to_array_spec`."""
    return to_array_spec(nest_array_spec)


def is_bounded(spec: Any) -> bool:
    """Returns True if the spec has bounds."""
    return isinstance(spec, BoundedTensorSpec | BoundedArraySpec)


def is_discrete(spec: Any) -> bool:
    """Returns True if the spec's dtype is an integer."""
    return tf.as_dtype(spec.dtype).is_integer


def is_continuous(spec: Any) -> bool:
    """Returns True if the spec's dtype is a float."""
    return tf.as_dtype(spec.dtype).is_floating


def with_dtype(specs: Any, dtype: Any) -> Any:
    """Returns the specs with another dtype. Bounds are cast to it."""
    return tf.nest.map_structure(lambda spec: _rebuilt(spec, spec.shape, dtype), from_spec(specs))


def add_outer_dims_nest(specs: Any, outer_dims: list[int | None] | tuple[int | None, ...]) -> Any:
    """Returns the specs with ``outer_dims`` added before each shape. Bounds stay unchanged and broadcast.

    Raises:
        ValueError: If ``outer_dims`` is neither a list nor a tuple.
    """
    if not isinstance(outer_dims, list | tuple):
        raise ValueError(f"outer_dims must be a list or tuple of dimensions, not {outer_dims!r}")
    outer = tf.TensorShape(outer_dims)
    return tf.nest.map_structure(lambda spec: _rebuilt(spec, outer.concatenate(spec.shape)), from_spec(specs))


def add_outer_dim(specs: Any, dim: int | None = None) -> Any:
    """Returns the specs with one dimension added before each shape; an open dimension if ``dim`` is None."""
    return add_outer_dims_nest(specs, (dim,))


def remove_outer_dims_nest(specs: Any, num_outer_dims: int) -> Any:
    """Returns the specs without the first ``num_outer_dims`` dimensions.

    If bounds vary along these dimensions, the bounds at their first index are kept.

    Raises:
        ValueError: If a shape has fewer dimensions. The message names the spec.
    """

    def remove(spec: Any) -> Any:
        if spec.shape.rank is None or spec.shape.rank < num_outer_dims:
            raise ValueError(f"spec {spec.name!r} of shape {spec.shape} has fewer than {num_outer_dims} dimensions")
        return _rebuilt(spec, spec.shape[num_outer_dims:])

    return tf.nest.map_structure(remove, from_spec(specs))


def _rebuilt(spec: Any, shape: tf.TensorShape, dtype: Any = None) -> Any:
    dtype = tf.as_dtype(spec.dtype if dtype is None else dtype)
    if not isinstance(spec, BoundedTensorSpec):
        return TensorSpec(shape, dtype, spec.name)
    bounds = [np.asarray(bound).astype(dtype.as_numpy_dtype) for bound in (spec.minimum, spec.maximum)]
    # Bounds may still have the removed dimensions; the first entry is kept.
    bounds = [bound[(0,) * max(bound.ndim - shape.rank, 0)] for bound in bounds]
    return BoundedTensorSpec(shape, dtype, *bounds, spec.name)


def zero_spec_nest(specs: Any, outer_dims: Any = None) -> Any:
    """Returns zeros of each spec's shape and dtype.

    Args:
        specs: Nest of tensor specs.
        outer_dims: A list or a 1-D tensor of dimensions to add before each shape, or None.

    Raises:
        NotImplementedError: If a leaf is not a dense tensor spec.
        ValueError: If a dimension of a spec is open.
    """
    outer = tf.cast(() if outer_dims is None else outer_dims, tf.int32)

    def zeros(spec: Any) -> Any:
        if not isinstance(spec, tf.TensorSpec):
            raise NotImplementedError(f"zero_spec_nest takes tensor specs, not {type(spec).__name__}: {spec!r}")
        shape = tf.constant(_known_shape(spec), tf.int32)
        return tf.zeros(tf.concat([outer, shape], axis=0), spec.dtype)

    return tf.nest.map_structure(zeros, specs)


def sample_bounded_spec(spec: BoundedTensorSpec, seed: Any = None, outer_dims: Any = None) -> tf.Tensor:
    """Draws uniformly between the bounds, both included.

    Args:
        spec: The spec to draw a value for. Bounds of floats are limited to an eighth of the dtype's largest number.
        seed: None, an int, a stateless seed int32 ``[2]``, or one for each row, int32 ``[B, 2]``, where B is the first
            of ``outer_dims``. The same seed leads to the same draw.
        outer_dims: A list or a 1-D tensor of dimensions to add before the shape, or None.

    Returns:
        ``[*outer_dims, *shape]``.

    Raises:
        ValueError: If a dimension of the spec is open.
    """
    outer = () if outer_dims is None else outer_dims
    return draw_uniform(_known_shape(spec), spec.dtype, spec.minimum, spec.maximum, seed, outer)


def sample_spec_nest(
    structure: Any, seed: Any = None, outer_dims: Any = (), minimum: Any = None, maximum: Any = None
) -> Any:
    """Draws uniformly for each spec of a nest, each from a random stream of its own.

    Args:
        structure: Nest of tensor specs. A spec without bounds has its dtype's.
        seed: The same as in :func:`sample_bounded_spec`.
        outer_dims: A list or a 1-D tensor of dimensions to add before each shape.
        minimum: A further lower bound for all draws, or None.
        maximum: A further upper bound for all draws, or None.

    Raises:
        TypeError: If a leaf is not a tensor spec, or values of its dtype cannot be drawn.
        ValueError: If a dimension of a spec is open, or its bounds exclude every value.
    """
    seeds = _leaf_seeds(seed, len(tf.nest.flatten(structure)))

    def draw(spec: Any, leaf_seed: Any) -> tf.Tensor:
        if not isinstance(spec, tf.TensorSpec):
            raise TypeError(f"sample_spec_nest takes tensor specs, not {type(spec).__name__}: {spec!r}")
        outer = () if outer_dims is None else outer_dims
        if spec.dtype == tf.bool:
            return draw_uniform(_known_shape(spec), spec.dtype, 0, 1, leaf_seed, outer)
        if not spec.dtype.is_floating and not spec.dtype.is_integer:
            raise TypeError(f"spec {spec.name!r}: dtype {spec.dtype.name} cannot be drawn; use a number or bool")
        low = spec.minimum if is_bounded(spec) else np.asarray(spec.dtype.min)
        high = spec.maximum if is_bounded(spec) else np.asarray(spec.dtype.max)
        # The bounds are compared in the spec's own dtype, since a float would round a 64-bit integer.
        low = low if minimum is None else np.maximum(low, np.asarray(minimum, low.dtype))
        high = high if maximum is None else np.minimum(high, np.asarray(maximum, high.dtype))
        if np.any(low > high):
            raise ValueError(f"spec {spec.name!r}: the minimum {low} exceeds the maximum {high}; widen the bounds")
        return draw_uniform(_known_shape(spec), spec.dtype, low, high, leaf_seed, outer)

    leaves = [draw(spec, leaf_seed) for spec, leaf_seed in zip(tf.nest.flatten(structure), seeds, strict=True)]
    return tf.nest.pack_sequence_as(structure, leaves)


def _leaf_seeds(seed: Any, num: int) -> list[Any]:
    if seed is None:
        return [None] * num
    from distpolicy.utils.sampling.tensor_draws import stateless_seed

    first = tf.convert_to_tensor(stateless_seed(seed))
    # Leaf 0 takes the seed unchanged. Steps are counted in the first word, so leaves differ in the second.
    return [first if index == 0 else first + tf.constant([0, index], first.dtype) for index in range(num)]


def _known_shape(spec: Any) -> list[int]:
    if not spec.shape.is_fully_defined():
        raise ValueError(f"spec {spec.name!r} of shape {spec.shape} has an open dimension; give all its dimensions")
    return spec.shape.as_list()


def to_proto(spec: Any) -> Any:
    """Returns a nest of specs as TensorFlow's StructuredValue proto.

    Array specs are converted to tensor specs. Bounds are kept.

    Raises:
        SpecMismatchError: If a leaf is not a spec.
    """
    return encode(from_spec(spec))


def to_pbtxt_file(output_path: str | Path, spec: Any) -> None:
    """Writes a nest of specs to a text file; see :func:`to_proto`.

    Raises:
        SpecMismatchError: If a leaf is not a spec.
    """
    encode_to_file(output_path, from_spec(spec))
