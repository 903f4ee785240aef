"""Draws that are differentiable functions of a distribution's parameters and of noise that is handed in."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp


def draw_with_noise(distribution: tfp.distributions.Distribution, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws from a distribution, and returns the log-probability of the draw.

    For a normal distribution that a bijector transforms, the log-probability is computed from the normal's own draw,
    and the inverse of the bijector is not needed. It stays exact where tanh has reached its bounds (Haarnoja et al.,
    2018, appendix C).

    Args:
        distribution: Normal, of one event for each row, perhaps transformed. Any other one draws its own noise.
        noise: Standard normal numbers, float32 ``[..., size]``, one for each element of an event.

    Returns:
        The draw ``[..., *event_shape]``, and its log-probability ``[...]``.
    """
    tfd = tfp.distributions
    normal = distribution.distribution if isinstance(distribution, tfd.Independent) else distribution
    # A MultivariateNormalDiag is also a transformed distribution, by what TFP makes it of.
    if not isinstance(normal, tfd.Normal | tfd.MultivariateNormalDiag):
        if isinstance(distribution, tfd.TransformedDistribution):
            raw, raw_log_prob = draw_with_noise(distribution.distribution, noise)
            slope = distribution.bijector.forward_log_det_jacobian(raw, event_ndims=distribution.event_shape.rank)
            return distribution.bijector.forward(raw), raw_log_prob - slope
        drawn = distribution.sample()
        # A new tensor: TFP would otherwise look up the input that it transformed.
        return drawn, distribution.log_prob(tf.identity(drawn))
    loc, scale = normal.mean(), normal.stddev()
    size = int(np.prod(distribution.event_shape))
    noise = tf.cast(noise, loc.dtype)
    log_scale = tf.reshape(tf.math.log(scale), tf.shape(noise))
    # The density of a draw depends on the noise and the deviation alone.
    log_prob = -tf.reduce_sum(0.5 * tf.square(noise) + log_scale, axis=-1) - 0.5 * size * math.log(2.0 * math.pi)
    return loc + scale * tf.reshape(noise, tf.shape(loc)), log_prob
