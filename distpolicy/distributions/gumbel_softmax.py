"""GumbelSoftmax: one-hot draws with a gradient."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp


class GumbelSoftmax(tfp.distributions.RelaxedOneHotCategorical):
    """A relaxed one-hot distribution with a mode, whose draws can be made discrete (Jang et al., 2017).

    ``sample`` returns floats ``[..., n]`` with a gradient. A policy's action is the one-hot vector of the largest.

    Args:
        temperature: Positive floats ``[...]``; the smaller, the closer draws are to one-hot vectors.
        logits: Floats ``[..., n]``; or None.
        probs: Probabilities ``[..., n]``, if ``logits`` is None.
        dtype: Dtype of discrete draws and of the mode.
        validate_args: See TFP.
        allow_nan_stats: See TFP.
        name: Name of the distribution.
    """

    def __init__(
        self,
        temperature: Any,
        logits: Any = None,
        probs: Any = None,
        dtype: Any = tf.int32,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "GumbelSoftmax",
    ) -> None:
        parameters = dict(locals())
        super().__init__(
            temperature, logits, probs, validate_args=validate_args, allow_nan_stats=allow_nan_stats, name=name
        )
        self._parameters = {key: value for key, value in parameters.items() if key not in ("self", "__class__")}
        self._output_dtype = dtype

    def convert_to_one_hot(self, samples: tf.Tensor) -> tf.Tensor:
        """Returns the one-hot vectors of the largest elements of ``[..., n]``."""
        return tf.one_hot(tf.argmax(samples, axis=-1), self.distribution.event_size, dtype=self._output_dtype)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        logits = self.distribution.logits_parameter()
        if x.dtype != logits.dtype:
            # A discrete value: the density of the relaxed one is infinite there, the categorical one's is not.
            return tf.reduce_sum(tf.cast(x, logits.dtype) * tf.math.log_softmax(logits), axis=-1)
        # A number that is 0 has an infinite density.
        return super()._log_prob(x + 1e-10)

    def _mode(self) -> tf.Tensor:
        return self.convert_to_one_hot(self.distribution.logits_parameter())
