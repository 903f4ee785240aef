"""Uniform draws between the bounds of tensor specs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.specs.uniform_draw import sampling_bounds


def draw_uniform(
    shape: list[int], dtype: tf.DType, minimum: Any, maximum: Any, seed: Any, outer_dims: Any
) -> tf.Tensor:
    """Draws ``[*outer_dims, *shape]`` uniformly from ``[minimum, maximum]``, both included.

    Args:
        shape: Shape of one value.
        dtype: A float, an integer or bool.
        minimum: Lower bounds, broadcastable to ``shape``.
        maximum: Upper bounds, broadcastable to ``shape``.
        seed: None, an int, a stateless seed int32 ``[2]``, or one for each row, int32 ``[B, 2]``, where B is the first
            of ``outer_dims``.
        outer_dims: A list of ints, or an integer tensor ``[num_outer_dims]``.
    """
    bits = _random_bits(shape, seed, outer_dims)
    if dtype == tf.bool:
        return tf.cast(tf.bitwise.bitwise_and(bits, tf.constant(1, tf.uint64)), tf.bool)
    if dtype.is_floating:
        low, high = sampling_bounds(minimum, maximum, float(dtype.max))
        # A float64 holds 53 bits.
        share = tf.cast(tf.bitwise.right_shift(bits, tf.constant(11, tf.uint64)), tf.float64) * 2.0**-53
        drawn = tf.cast(low + share * (high - low), dtype)
        return tf.clip_by_value(drawn, tf.cast(minimum, dtype), tf.cast(maximum, dtype))
    low, high = np.asarray(minimum).astype(object), np.asarray(maximum).astype(object)
    # The full 64-bit range has 2**64 values, one more than uint64 can count. The bits themselves are the draw then.
    count = np.asarray(high - low + 1, object)
    whole = count == 2**64
    scaled = multiply_high(bits, tf.constant(np.where(whole, 0, count).astype(np.uint64)))
    offset = tf.where(np.asarray(whole, bool), bits, scaled)
    first = tf.constant((low % 2**64).astype(np.uint64) if low.ndim else np.uint64(int(low) % 2**64))
    # In two's complement the sum wraps around to the right number, also below zero.
    total = offset + first
    if dtype.is_unsigned:
        return tf.cast(total, dtype)
    return tf.cast(tf.bitcast(total, tf.int64), dtype)


def _random_bits(shape: list[int], seed: Any, outer_dims: Any) -> tf.Tensor:
    """Returns uint64 ``[*outer_dims, *shape]`` with all 64 bits random."""
    # This module imports TensorFlow Probability, which specs alone do not need.
    from distpolicy.utils.sampling.tensor_draws import row_bits, stateless_seed

    dims = tf.concat([tf.cast(outer_dims, tf.int32), tf.constant(shape, tf.int32)], axis=0)
    if seed is None:
        seed = tf.random.uniform([2], np.iinfo(np.int32).min, np.iinfo(np.int32).max, tf.int32)
    seed = tf.convert_to_tensor(stateless_seed(seed))
    if seed.shape.rank != 2:
        return tf.random.stateless_uniform(dims, seed, minval=None, maxval=None, dtype=tf.uint64)
    # In a graph the inner dimensions may be known even if the batch size is not.
    num = int(np.prod([*_inner(outer_dims), *shape]))
    return tf.reshape(row_bits(seed, num), dims)


def _inner(outer_dims: Any) -> list[int]:
    """Returns the outer dimensions after the first; each row's draw includes them."""
    dims = tf.convert_to_tensor(outer_dims, tf.int32)
    if dims.shape.as_list() == [1]:
        return []
    static = tf.get_static_value(dims, partial=True)
    if static is None or any(size is None for size in static[1:]):
        raise ValueError(f"with a seed for each row, outer_dims after the first must be known, but are {outer_dims}")
    return [int(size) for size in static[1:]]


def multiply_high(bits: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns the upper 64 bits of ``bits * count``. For uniform bits these are uniform in ``[0, count)``."""
    half, low_half = tf.constant(32, tf.uint64), tf.constant(0xFFFFFFFF, tf.uint64)

    def split(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.bitwise.right_shift(value, half), tf.bitwise.bitwise_and(value, low_half)

    bits = bits + tf.zeros_like(count)
    count = count + tf.zeros_like(bits)
    bits_high, bits_low = split(bits)
    count_high, count_low = split(count)
    carry, _ = split(bits_low * count_low)
    middle_high, middle_low = split(bits_high * count_low + carry)
    last, _ = split(bits_low * count_high + middle_low)
    return bits_high * count_high + middle_high + last
