"""A categorical distribution over ``minimum … minimum + n - 1``."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp


class ShiftedCategorical(tfp.distributions.TransformedDistribution):
    """A categorical under a shift of integers, which has no density to correct by.

    TFP's transformed distributions give neither mode nor entropy, and no log-probability of integers.
    """

    def _log_prob(self, value: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        return self.distribution.log_prob(self.bijector.inverse(value))

    def _entropy(self, **kwargs: Any) -> tf.Tensor:
        return self.distribution.entropy()

    def _mode(self, **kwargs: Any) -> tf.Tensor:
        return self.bijector.forward(self.distribution.mode())


def shifted_categorical(logits: tf.Tensor, minimum: int, dtype: Any = tf.int64) -> ShiftedCategorical:
    """A categorical whose values begin at ``minimum`` instead of 0, for specs that do.

    Args:
        logits: ``[..., n]``.
        minimum: The lowest value.
        dtype: Integer dtype of the values.
    """
    return ShiftedCategorical(
        distribution=tfp.distributions.Categorical(logits=logits, dtype=dtype),
        bijector=tfp.bijectors.Shift(tf.constant(minimum, dtype)),
    )
