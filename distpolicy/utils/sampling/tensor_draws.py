"""Random numbers with one stateless seed for each row.

A seed of shape ``[B, 2]`` gives every row of the batch its own stream. What row b draws depends on ``seed[b]`` alone,
not on the other rows. Collected data is therefore independent of how env slots are spread over collectors.

The uniform numbers come from SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014), used as a counter-based generator. It takes a few integer operations, which are the same on every device.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.utils.sampling import array_draws

NoiseSource = Callable[[tf.Tensor, int], tf.Tensor]

_noise_source: contextvars.ContextVar[NoiseSource | None] = contextvars.ContextVar("noise_source", default=None)


@contextlib.contextmanager
def noise_from(source: NoiseSource) -> Iterator[None]:
    """Lets :func:`row_uniform` take its numbers from ``source(seed, num)`` within the block.

    Engines that draw the numbers elsewhere pass them in this way.
    """
    token = _noise_source.set(source)
    try:
        yield
    finally:
        _noise_source.reset(token)


def _mix(z: tf.Tensor) -> tf.Tensor:
    def xor_shift(value: tf.Tensor, bits: int) -> tf.Tensor:
        return tf.bitwise.bitwise_xor(value, tf.bitwise.right_shift(value, tf.constant(bits, tf.uint64)))

    z = xor_shift(z, 30) * tf.constant(array_draws.MIX_1, tf.uint64)
    z = xor_shift(z, 27) * tf.constant(array_draws.MIX_2, tf.uint64)
    return xor_shift(z, 31)


def row_uniform(seed: tf.Tensor, num: int) -> tf.Tensor:
    """Draws uniform numbers in (0, 1), float32 ``[B, num]``, with a seed for each row.

    Args:
        seed: int32 ``[B, 2]``.
        num: Number of draws for each row.
    """
    source = _noise_source.get()
    return generate_uniform(seed, num) if source is None else source(seed, num)


def generate_uniform(seed: tf.Tensor, num: int) -> tf.Tensor:
    """Does the same as :func:`row_uniform`, but always by the generator; ignores :func:`noise_from`."""
    # The numbers are the middles of 2**23 intervals. float32 holds them exactly. Since 0 and 1 are not among them,
    # logarithms stay finite.
    high = tf.cast(tf.bitwise.right_shift(row_bits(seed, num), tf.constant(41, tf.uint64)), tf.float32)
    return high * 2.0**-23 + 2.0**-24


def row_bits(seed: tf.Tensor, num: int) -> tf.Tensor:
    """Draws uint64 ``[B, num]`` with all bits random, with a seed for each row.

    Args:
        seed: int32 ``[B, 2]``.
        num: Number of draws for each row.
    """
    key = _mix(tf.bitcast(seed, tf.uint64))[:, tf.newaxis]
    return _mix(key + tf.constant(array_draws.counters(num))[tf.newaxis])


def row_normal(seed: tf.Tensor, num: int) -> tf.Tensor:
    """Draws standard normal numbers, float32 ``[B, num]``, with a seed for each row (Box and Muller, 1958)."""
    uniform = row_uniform(seed, 2 * num)
    radius = tf.sqrt(-2.0 * tf.math.log(uniform[:, :num]))
    return radius * tf.cos(2.0 * np.pi * uniform[:, num:])


def row_seeds(seed: tf.Tensor, num_rows: Any) -> tf.Tensor:
    """Returns a seed for each row, int32 ``[num_rows, 2]``, derived from one seed.

    Args:
        seed: int32 ``[2]``.
        num_rows: An int, or an integer tensor.
    """
    steps = tf.range(1, tf.cast(num_rows, tf.int64) + 1, dtype=tf.int64)
    counters = tf.bitcast(steps, tf.uint64) * tf.constant(array_draws.GAMMA, tf.uint64)
    return tf.bitcast(tf.bitcast(seed, tf.uint64) + counters, tf.int32)


def stateless_seed(seed: Any) -> Any:
    """Converts an int to a stateless seed, an int32 array ``[2]``, so that a new seed does not retrace a function.

    Arrays are converted to int32. Tensors stay unchanged.
    """
    return seed if tf.is_tensor(seed) else array_draws.array_seed(seed)


def fold_rows(seed: tf.Tensor) -> tf.Tensor:
    """Combines the seeds of all rows into one stateless seed, int32 ``[2]``."""
    mixed = tf.bitcast(_mix(tf.bitcast(seed, tf.uint64)), tf.int32)
    return tf.reduce_sum(mixed, axis=0)
