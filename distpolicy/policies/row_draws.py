"""Random numbers for policies. What a row of a batch draws depends on its own seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.specs import tensor_spec
from distpolicy.specs.uniform_draw import draws_from_float, sampling_bounds
from distpolicy.specs.uniform_tensor_draw import draw_uniform
from distpolicy.utils.sampling.tensor_draws import row_normal, row_seeds, row_uniform

# Seeds count steps and env slots in small numbers. Multiples of this large odd one keep streams apart from them.
_STREAM = 0x2545F491


def stream_seed(seed: tf.Tensor | None, stream: int) -> tf.Tensor | None:
    """Returns the seed of a further decision. The draw of the action itself takes the seed unchanged.

    Args:
        seed: int32 ``[2]`` or ``[B, 2]``, or None.
        stream: Number of the decision; 0 is the seed itself.
    """
    if seed is None or stream == 0:
        return seed
    offset = np.array([stream * _STREAM, stream * (_STREAM >> 3)], np.uint64).astype(np.uint32).view(np.int32)
    return seed + tf.constant(offset)


def seeds_of_rows(seed: tf.Tensor | None, outer_shape: Any) -> tf.Tensor:
    """Returns a seed for each row of ``outer_shape``, flattened.

    Args:
        seed: int32 ``[2]``; int32 ``[B, 2]``, one for each entry of the first outer dimension; or None for new seeds
            from TensorFlow's global generator.
        outer_shape: ``[]``, ``[B]`` or ``[B, T]``: a static shape, or an integer tensor.

    Returns:
        int32 ``[num_rows, 2]``.
    """
    static = tf.get_static_value(outer_shape)
    rank = int(outer_shape.shape[0])
    num_rows = tf.reduce_prod(outer_shape) if static is None else int(np.prod(static))
    if seed is None:
        return tf.random.uniform([num_rows, 2], tf.int32.min, tf.int32.max, tf.int32)
    if seed.shape.rank == 1:
        return seed[tf.newaxis] if rank == 0 else row_seeds(seed, num_rows)
    if rank < 2:
        return seed
    # The seeds of a row's steps follow from the row's seed.
    num_steps = tf.reduce_prod(outer_shape[1:])
    steps = row_seeds(tf.zeros([2], tf.int32), num_steps)
    return tf.reshape(seed[:, tf.newaxis] + steps[tf.newaxis], [-1, 2])


def uniform_rows(seed: tf.Tensor | None, outer_shape: Any) -> tf.Tensor:
    """Draws a uniform number in (0, 1) for each row: float32 ``[*outer_shape]``."""
    return tf.reshape(row_uniform(seeds_of_rows(seed, outer_shape), 1), outer_shape)


def draw_rows(spec: Any, rows: tf.Tensor) -> tf.Tensor:
    """Draws a spec's values uniformly between its bounds, ``[num_rows, *shape]``.

    Few integers, bools and floats of up to 32 bits are made of :func:`row_uniform`'s numbers, which every engine can.

    Args:
        spec: A spec. Without bounds it has its dtype's.
        rows: A seed for each row, int32 ``[num_rows, 2]``.
    """
    dtype, shape = spec.dtype, spec.shape.as_list()
    num_rows = tf.shape(rows)[:1]
    if dtype == tf.bool:
        return tf.reshape(row_uniform(rows, int(np.prod(shape))) >= 0.5, tf.concat([num_rows, shape], axis=0))
    low = np.asarray(spec.minimum if tensor_spec.is_bounded(spec) else dtype.min)
    high = np.asarray(spec.maximum if tensor_spec.is_bounded(spec) else dtype.max)
    if not draws_from_float(np.dtype(dtype.as_numpy_dtype), low, high):
        return draw_uniform(shape, dtype, low, high, rows, num_rows)
    uniform = tf.reshape(row_uniform(rows, int(np.prod(shape))), tf.concat([num_rows, shape], axis=0))
    if dtype.is_floating:
        start, end = sampling_bounds(low, high, float(dtype.max))
        drawn = tf.cast(start.astype(np.float32) + uniform * (end - start).astype(np.float32), dtype)
        return tf.clip_by_value(drawn, tf.cast(low, dtype), tf.cast(high, dtype))
    # The largest of the uniform numbers, 1 - 2**-24, times a count is below the count in float32, too.
    count = np.asarray(high.astype(object) - low.astype(object) + 1, np.float32)
    return shifted_index(tf.cast(uniform * count, tf.int32), low, dtype)


def shifted_index(index: tf.Tensor, minimum: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    """Returns ``index + minimum`` as a dtype; some engines cannot add small integers of their own.

    Args:
        index: int32 ``[...]``, small numbers.
        minimum: Integers.
        dtype: The dtype of the result.
    """
    is_narrow = np.all(abs(minimum.astype(object)) < 2**30)
    wide = tf.int32 if is_narrow else dtype
    return tf.cast(tf.cast(index, wide) + tf.constant(minimum.astype(wide.as_numpy_dtype)), dtype)


def normal_like(seed: tf.Tensor | None, outer_shape: Any, spec: Any) -> tf.Tensor:
    """Draws standard normal numbers ``[*outer_shape, *spec.shape]`` of the spec's dtype."""
    rows = row_normal(seeds_of_rows(seed, outer_shape), int(np.prod(spec.shape)))
    shape = tf.concat([outer_shape, tf.constant(spec.shape.as_list(), tf.int32)], axis=0)
    return tf.cast(tf.reshape(rows, shape), spec.dtype)


def outer_shape_of(step_type: Any) -> tf.Tensor:
    """Returns a time step's outer shape, which is its step type's shape: int32 ``[num_outer_dims]``."""
    shape = tf.convert_to_tensor(step_type).shape
    return tf.constant(shape.as_list(), tf.int32) if shape.is_fully_defined() else tf.shape(step_type)


def where_rows(condition: tf.Tensor, chosen: Any, other: Any) -> Any:
    """Selects rows from one nest where a condition holds and from another elsewhere.

    Args:
        condition: bool ``[...]``.
        chosen: Nest of ``[..., *shape]``.
        other: A nest like ``chosen``.
    """

    def select(one: Any, two: Any) -> tf.Tensor:
        one = tf.convert_to_tensor(one)
        mask = condition
        while mask.shape.rank < one.shape.rank:
            mask = mask[..., tf.newaxis]
        return tf.where(mask, one, two)

    return tf.nest.map_structure(select, chosen, other)
