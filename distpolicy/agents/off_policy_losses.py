"""What the losses of off-policy agents have in common."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


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


def clip_each(gradients: Sequence[tf.Tensor], norm: float | None) -> list[tf.Tensor]:
    """Scales each gradient whose norm is larger than ``norm`` down to it; None to leave all as they are."""
    return list(gradients) if norm is None else [tf.clip_by_norm(gradient, norm) for gradient in gradients]
