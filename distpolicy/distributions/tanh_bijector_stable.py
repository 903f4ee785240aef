"""Tanh: a hyperbolic tangent with a finite inverse."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp


class Tanh(tfp.bijectors.Tanh):
    """TFP's Tanh with a finite inverse: 1 and -1 are replaced by the nearest numbers between them.

    Rounding puts actions exactly at a bound. With this inverse their log-probabilities are finite.
    """

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        one = y.dtype.as_numpy_dtype(1.0)
        limit = np.nextafter(one, y.dtype.as_numpy_dtype(0.0))
        inside = tf.clip_by_value(y, -limit, limit)
        # LiteRT does not have atanh. The error of this formula is a rounding error of 1, also where y is small.
        return 0.5 * (tf.math.log(1.0 + inside) - tf.math.log(1.0 - inside))
