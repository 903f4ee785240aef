"""Tanh: a hyperbolic tangent whose inverse is finite."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp


class Tanh(tfp.bijectors.Tanh):
    """TFP's Tanh, but for its inverse, which takes 1 and -1 as the nearest numbers between them.

    Actions at the very bounds, where floats put what lies close to them, have finite log-probabilities by it.
    """

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        one = y.dtype.as_numpy_dtype(1.0)
        limit = np.nextafter(one, y.dtype.as_numpy_dtype(0.0))
        return tf.atanh(tf.clip_by_value(y, -limit, limit))
