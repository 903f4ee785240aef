"""Projection of a distribution over values onto a fixed support, as a pure function."""

from __future__ import annotations

import tensorflow as tf


def project_distribution(values: tf.Tensor, probabilities: tf.Tensor, support: tf.Tensor) -> tf.Tensor:
    """Projects distributions onto a support (Bellemare, Dabney and Munos, 2017, equation 7 and algorithm 1).

    A value between two of the support's goes to both, the more to the nearer one. Values beyond its ends go to these.

    Args:
        values: float ``[B, N]``: the values that a distribution is over, in any order.
        probabilities: float ``[B, N]``: their probabilities.
        support: float ``[M]``: evenly spaced values in ascending order.

    Returns:
        The probabilities of the support's values, float ``[B, M]``. No gradient flows through them.

    Raises:
        ValueError: If ranks or shapes do not match.
    """
    if values.shape.rank != 2 or not probabilities.shape.is_compatible_with(values.shape):
        raise ValueError(
            f"values and probabilities must both be [B, N], but are {values.shape} and {probabilities.shape}"
        )
    if support.shape.rank != 1 or (support.shape[0] or 2) < 2:
        raise ValueError(f"support must be [M] with 2 values or more, but has shape {support.shape}")
    step = support[1] - support[0]
    within = tf.clip_by_value(values, support[0], support[-1])
    distance = tf.abs(within[:, tf.newaxis, :] - support[:, tf.newaxis]) / step
    share = tf.maximum(1.0 - distance, 0.0)
    return tf.stop_gradient(tf.linalg.matvec(share, probabilities))
