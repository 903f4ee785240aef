"""Drawing from distributions with one stateless seed for each row.

A seed of shape ``[B, 2]`` gives every row of the batch its own stream: what row b draws depends on
``seed[b]`` alone, whichever rows stand beside it. That is what makes data independent of how env slots
are spread over collectors. The uniform numbers come from SplitMix64 (Steele, Lea and Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014) used as a counter-based generator: a few integer
operations, the same on every device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def _mix(z: tf.Tensor) -> tf.Tensor:
    def xor_shift(value: tf.Tensor, bits: int) -> tf.Tensor:
        return tf.bitwise.bitwise_xor(value, tf.bitwise.right_shift(value, tf.constant(bits, tf.uint64)))

    z = xor_shift(z, 30) * tf.constant(_MIX_1, tf.uint64)
    z = xor_shift(z, 27) * tf.constant(_MIX_2, tf.uint64)
    return xor_shift(z, 31)


def row_uniform(seed: tf.Tensor, num: int) -> tf.Tensor:
    """Uniform numbers in (0, 1), float32 ``[B, num]``, from a seed for each row.

    Args:
        seed: int32 ``[B, 2]``.
        num: Numbers for each row.
    """
    key = _mix(tf.bitcast(seed, tf.uint64))[:, tf.newaxis]
    counters = (np.arange(1, num + 1, dtype=np.uint64) * np.uint64(_GAMMA)).astype(np.uint64)
    bits = _mix(key + tf.constant(counters)[tf.newaxis])
    # 24 bits are what a float32 holds; the half and the minimum keep the ends out: logarithms stay finite.
    high = tf.cast(tf.bitwise.right_shift(bits, tf.constant(40, tf.uint64)), tf.float32)
    return tf.minimum((high + 0.5) * 2.0**-24, 1.0 - 2.0**-24)


def row_normal(seed: tf.Tensor, num: int) -> tf.Tensor:
    """Standard normal numbers, float32 ``[B, num]``, from a seed for each row (Box and Muller, 1958)."""
    uniform = row_uniform(seed, 2 * num)
    radius = tf.sqrt(-2.0 * tf.math.log(uniform[:, :num]))
    return radius * tf.cos(2.0 * np.pi * uniform[:, num:])


def stateless_seed(seed: Any) -> Any:
    """A stateless seed for an int: an int32 array ``[2]``, so that another seed is no other trace.

    Other arrays become int32; tensors stay as they are.
    """
    if tf.is_tensor(seed):
        return seed
    if isinstance(seed, int | np.integer):
        return np.array([int(seed) & 0xFFFFFFFFFFFFFFFF], np.uint64).view(np.int32)
    return np.asarray(seed, np.int32)


def sample(distribution: tfp.distributions.Distribution, seed: Any = None) -> tf.Tensor:
    """A draw from a distribution.

    Args:
        distribution: Any TFP distribution.
        seed: None, an int, a stateless seed int32 ``[2]``, or int32 ``[B, 2]`` with a stateless seed for
            each row of a distribution of batch shape ``[B, ...]``. With seeds for each row, categorical,
            normal and deterministic distributions, and transformed or independent ones over them, draw row
            by row; others draw from one seed folded of all.
    """
    if not tf.is_tensor(seed) or seed.shape.rank != 2:
        return distribution.sample(seed=seed)
    drawn = _row_sample(distribution, seed)
    if drawn is None:
        return distribution.sample(seed=fold_rows(seed))
    return drawn


def fold_rows(seed: tf.Tensor) -> tf.Tensor:
    """One stateless seed int32 ``[2]`` made of a seed for each row."""
    mixed = tf.bitcast(_mix(tf.bitcast(seed, tf.uint64)), tf.int32)
    return tf.reduce_sum(mixed, axis=0)


def _row_sample(distribution: tfp.distributions.Distribution, seed: tf.Tensor) -> tf.Tensor | None:
    tfd = tfp.distributions
    if isinstance(distribution, tfd.Categorical):
        logits = distribution.logits_parameter()
        uniform = _row_shaped(row_uniform, seed, logits)
        drawn = tf.argmax(logits - tf.math.log(-tf.math.log(uniform)), axis=-1)
        return tf.cast(drawn, distribution.dtype)
    if isinstance(distribution, tfd.Normal | tfd.MultivariateNormalDiag):
        loc, scale = distribution.mean(), distribution.stddev()
        return loc + scale * tf.cast(_row_shaped(row_normal, seed, loc), loc.dtype)
    if isinstance(distribution, tfd.Deterministic | tfd.VectorDeterministic):
        return distribution.mean()
    if isinstance(distribution, tfd.Independent):
        return _row_sample(distribution.distribution, seed)
    if isinstance(distribution, tfd.TransformedDistribution):
        base = _row_sample(distribution.distribution, seed)
        return None if base is None else distribution.bijector.forward(base)
    return None


def _row_shaped(draw: Any, seed: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Numbers of the shape of ``like``, ``[B, ...]``, from a seed for each row."""
    num = int(np.prod(like.shape[1:]))
    return tf.reshape(draw(seed, num), tf.shape(like))
