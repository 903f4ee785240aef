"""Rescaling of values, so that large returns do not make large errors, as pure functions."""

from __future__ import annotations

import tensorflow as tf


def rescale(value: tf.Tensor, epsilon: float = 1e-3) -> tf.Tensor:
    """Returns ``h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x`` (Pohlen et al., 2018, proposition A.2).

    Args:
        value: float ``[...]``.
        epsilon: Above 0, so that the function has an inverse whose slope is bounded.
    """
    size = tf.abs(value)
    # The same as sqrt(|x| + 1) - 1, without the loss of digits near 0.
    return tf.sign(value) * size / (tf.sqrt(size + 1.0) + 1.0) + epsilon * value


def invert_rescaling(value: tf.Tensor, epsilon: float = 1e-3) -> tf.Tensor:
    """Returns the inverse of :func:`rescale`, by the closed form of the same proposition.

    Args:
        value: float ``[...]``.
        epsilon: As for :func:`rescale`.
    """
    size = tf.abs(value)
    # The root of epsilon s² + s - (|x| + 1 + epsilon) = 0 is s = sqrt(h⁻¹(|x|) + 1), in the form that loses no digits.
    constant = size + 1.0 + epsilon
    root = 2.0 * constant / (1.0 + tf.sqrt(1.0 + 4.0 * epsilon * constant))
    return tf.sign(value) * (tf.square(root) - 1.0)
