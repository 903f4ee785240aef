"""Shapes, dimensions and slices of tensors that may be sparse."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def shape(tensor: Any) -> tf.Tensor:
    """Returns the shape of a tensor or SparseTensor, int64."""
    return tensor.dense_shape if isinstance(tensor, tf.SparseTensor) else tf.shape(tensor, out_type=tf.int64)


def reshape(t: Any, shape: Any) -> Any:
    """Reshapes a tensor or SparseTensor."""
    return tf.sparse.reshape(t, shape) if isinstance(t, tf.SparseTensor) else tf.reshape(t, shape)


def squeeze(t: Any, axis: int) -> Any:
    """Removes a dimension of length 1 from a tensor or SparseTensor.

    Raises:
        InvalidArgumentError: If the dimension is longer.
    """
    if not isinstance(t, tf.SparseTensor):
        return tf.squeeze(t, [axis])
    axis = axis % t.indices.shape[1]
    tf.debugging.assert_equal(t.dense_shape[axis], tf.constant(1, tf.int64), f"dimension {axis} must have length 1")
    return tf.SparseTensor(_without(t.indices, axis, 1), t.values, _without(t.dense_shape, axis, 0))


def expand_dims(t: Any, axis: Any) -> Any:
    """Adds a dimension of length 1 to a tensor or SparseTensor."""
    return tf.sparse.expand_dims(t, axis) if isinstance(t, tf.SparseTensor) else tf.expand_dims(t, axis)


def slice_from(tensor: Any, axis: int, start: Any) -> Any:
    """Returns ``tensor[start:]`` along a dimension. A negative start is counted from the end.

    Args:
        tensor: A tensor or SparseTensor.
        axis: The dimension.
        start: Integer scalar.
    """
    if not isinstance(tensor, tf.SparseTensor):
        return tensor[(*[slice(None)] * axis, slice(start, None))]
    length = tensor.dense_shape[axis]
    start = _place(start, length)
    return _kept(tensor, axis, tensor.indices[:, axis] >= start, start, length - start)


def slice_to(tensor: Any, axis: int, end: Any) -> Any:
    """Returns ``tensor[:end]`` along a dimension. A negative end is counted from the end of the dimension.

    Args:
        tensor: A tensor or SparseTensor.
        axis: The dimension.
        end: Integer scalar.
    """
    if not isinstance(tensor, tf.SparseTensor):
        return tensor[(*[slice(None)] * axis, slice(None, end))]
    end = _place(end, tensor.dense_shape[axis])
    return _kept(tensor, axis, tensor.indices[:, axis] < end, tf.constant(0, tf.int64), end)


def _place(index: Any, length: tf.Tensor) -> tf.Tensor:
    index = tf.cast(index, tf.int64)
    return tf.clip_by_value(tf.where(index < 0, length + index, index), 0, length)


def _kept(tensor: tf.SparseTensor, axis: int, keep: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.SparseTensor:
    rank = tensor.indices.shape[1]
    shift = tf.one_hot(axis, rank, on_value=start, off_value=tf.constant(0, tf.int64), dtype=tf.int64)
    indices = tf.boolean_mask(tensor.indices, keep) - shift
    dense_shape = tf.tensor_scatter_nd_update(tensor.dense_shape, [[axis]], [length])
    return tf.SparseTensor(indices, tf.boolean_mask(tensor.values, keep), dense_shape)


def _without(tensor: tf.Tensor, place: int, axis: int) -> tf.Tensor:
    """Returns a tensor without the element at a place of a dimension."""
    return tf.concat([slice_to(tensor, axis, place), slice_from(tensor, axis, place + 1)], axis)
