"""ShiftedCategorical: a categorical distribution over ``shift … shift + n - 1``."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.masked import MaskedCategorical


class ShiftedCategorical(tfp.distributions.TransformedDistribution):
    """A categorical distribution with all values shifted by an integer.

    Args:
        logits: float ``[..., n]``, or None if ``probs`` are given.
        probs: Probabilities ``[..., n]``, or None if ``logits`` are given.
        dtype: Integer dtype of the values.
        force_probs_to_zero_outside_support: Whether other values have probability 0 instead of an undefined one.
        validate_args: Whether TFP checks arguments.
        allow_nan_stats: See TFP.
        shift: The lowest value, integers ``[...]`` that broadcast with the batch shape of ``logits``; None for 0.
        name: Name of the distribution.
        mask: bool ``[..., n]``, False where a value must not be drawn; None for no mask.
    """

    def __init__(
        self,
        logits: Any = None,
        probs: Any = None,
        dtype: Any = tf.int32,
        force_probs_to_zero_outside_support: bool = False,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        shift: Any = None,
        name: str = "ShiftedCategorical",
        mask: Any = None,
    ) -> None:
        parameters = dict(locals())
        if mask is None:
            categorical = tfp.distributions.Categorical(
                logits=logits,
                probs=probs,
                dtype=dtype,
                force_probs_to_zero_outside_support=force_probs_to_zero_outside_support,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
            )
        else:
            categorical = MaskedCategorical(
                logits, mask, probs=probs, dtype=dtype, validate_args=validate_args, neg_inf=None
            )
        self._shift = tf.convert_to_tensor(0 if shift is None else shift, dtype)
        super().__init__(
            categorical,
            tfp.bijectors.Shift(self._shift),
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        values, vector = tfp.util.ParameterProperties(), tfp.util.ParameterProperties(event_ndims=1)
        return {"logits": vector, "probs": vector, "shift": values, "mask": vector}

    @property
    def shift(self) -> tf.Tensor:
        """The lowest value."""
        return self._shift

    @property
    def logits(self) -> Any:
        """The given logits, after masking; None if probabilities were given."""
        return self.distribution.logits

    @property
    def probs(self) -> Any:
        """The given probabilities; None if logits were given."""
        return self.distribution.probs

    def logits_parameter(self) -> tf.Tensor:
        """Returns the logits, computed from the probabilities if those were given."""
        return self.distribution.logits_parameter()

    def probs_parameter(self) -> tf.Tensor:
        """Returns the probabilities, computed from the logits if those were given."""
        return self.distribution.probs_parameter()

    def _log_prob(self, value: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        return self.distribution.log_prob(value - self._shift)

    def _prob(self, value: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        return self.distribution.prob(value - self._shift)

    def _cdf(self, value: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        return self.distribution.cdf(value - self._shift)

    def _log_cdf(self, value: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        return self.distribution.log_cdf(value - self._shift)

    def _entropy(self, **kwargs: Any) -> tf.Tensor:
        return self.distribution.entropy()

    def _mode(self, **kwargs: Any) -> tf.Tensor:
        return self.bijector.forward(self.distribution.mode())


@tfp.distributions.RegisterKL(ShiftedCategorical, ShiftedCategorical)
def _kl_of_shifted(left: ShiftedCategorical, right: ShiftedCategorical, name: str | None = None) -> tf.Tensor:
    """Returns the KL divergence of two distributions with the same shift."""
    return left.distribution.kl_divergence(right.distribution, name=name or "kl_shifted")
