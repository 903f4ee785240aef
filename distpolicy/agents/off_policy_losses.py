"""What the losses of off-policy agents have in common."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from distpolicy.agents.adam import finite_bound

# Of the largest error of a sequence in its priority; the rest is the mean error's.
_LARGEST_SHARE = 0.9


def row_mean(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns the sum of weighted rows, divided by the number of rows whose weight is not 0.

    Rows of weight 0 thus change nothing, and weights that correct for priorities count as they are (Schaul et al.,
    2016).

    Args:
        values: float32 ``[B]``.
        weights: float32 ``[B]``.

    Returns:
        float32 scalar; 0 without any row.
    """
    count = tf.math.count_nonzero(weights, dtype=tf.float32)
    return tf.reduce_sum(values * weights) / tf.maximum(count, 1.0)


def sequence_priority(error: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Returns the priorities of sequences, float32 ``[B]`` (Kapturowski et al., 2019, section 2.3).

    Args:
        error: The absolute errors, float32 ``[B, L]``.
        counts: bool ``[B, L]``: which of them count.
    """
    counted = tf.cast(counts, tf.float32)
    error = tf.where(counts, error, tf.zeros_like(error))
    mean = tf.reduce_sum(error, axis=1) / tf.maximum(tf.reduce_sum(counted, axis=1), 1.0)
    return _LARGEST_SHARE * tf.reduce_max(error, axis=1) + (1.0 - _LARGEST_SHARE) * mean


def clip_each(gradients: Sequence[tf.Tensor], norm: float | None) -> list[tf.Tensor]:
    """Scales each gradient whose norm is larger than ``norm`` down to it; None to leave all as they are."""
    bound = finite_bound(norm)
    return list(gradients) if bound is None else [tf.clip_by_norm(gradient, bound) for gradient in gradients]
