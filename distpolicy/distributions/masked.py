"""MaskedCategorical: a categorical distribution with some categories masked out."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.internal import parameter_properties


class MaskedCategorical(tfp.distributions.Categorical):
    """A categorical distribution over the categories where the mask is not 0.

    A row with a mask of all 0 has no distribution. This is an error in eager mode, and in graphs with
    ``validate_args``. In other graphs a check would cost an extra step; there every category of such a row has the
    log-probability ``neg_inf``, which shows in the training data but is not NaN.

    Args:
        logits: Floats ``[..., n]``.
        mask: Bools or numbers ``[..., n]``, broadcast with the logits; 0 where a category must not be drawn.
        probs: Must be None; keeps TF-Agents' order of arguments.
        dtype: Integer dtype of the samples.
        validate_args: Whether masks are checked in graphs, too.
        allow_nan_stats: See TFP.
        neg_inf: The logit of a masked category, limited to the dtype's lowest number; None for that number.
        name: Name of the distribution.

    Raises:
        ValueError: If ``probs`` is given, or a row of an eager mask is all 0. The message names the row.
        InvalidArgumentError: If a row is all 0 in a graph with ``validate_args``.
    """

    def __init__(
        self,
        logits: Any,
        mask: Any,
        probs: Any = None,
        dtype: Any = tf.int32,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        neg_inf: float | None = -1e10,
        name: str = "MaskedCategorical",
    ) -> None:
        parameters = dict(locals())
        if probs is not None:
            raise ValueError("MaskedCategorical takes logits, not probs; pass tf.math.log(probs)")
        with tf.name_scope(name):
            logits = tf.convert_to_tensor(logits)
            self._mask = tf.cast(mask, tf.bool)
            self._any = tf.reduce_any(self._mask, axis=-1)
            # This stays a Python number, since TFP rebuilds the distribution from its attributes.
            self._neg_inf = neg_inf
            lowest = float(logits.dtype.min)
            self._masked_logit = lowest if neg_inf is None else max(float(neg_inf), lowest)
            with tf.control_dependencies(self._checks(validate_args)):
                masked = tf.where(self._mask, logits, tf.constant(self._masked_logit, logits.dtype))
        super().__init__(
            logits=masked, dtype=dtype, validate_args=validate_args, allow_nan_stats=allow_nan_stats, name=name
        )
        self._parameters = parameters

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        properties = super()._parameter_properties(dtype, num_classes=num_classes)
        mask = parameter_properties.ParameterProperties(event_ndims=1)
        return {"logits": properties["logits"], "mask": mask}

    @property
    def mask(self) -> tf.Tensor:
        """The mask, bool ``[..., n]``, True where a category can be drawn."""
        return self._mask

    def _checks(self, validate_args: bool) -> list[Any]:
        if not isinstance(self._any, tf.__internal__.EagerTensor):
            message = "MaskedCategorical: a row of the mask is all 0; allow at least one category"
            return [tf.debugging.Assert(tf.reduce_all(self._any), [message, self._any])] if validate_args else []
        if not tf.reduce_all(self._any):
            row = tf.where(tf.logical_not(self._any))[0].numpy().tolist()
            raise ValueError(f"MaskedCategorical: row {row} of the mask is all 0; allow at least one category")
        return []

    def _log_prob(self, k: Any) -> tf.Tensor:
        log_prob = super()._log_prob(k)
        return tf.where(self._any, log_prob, tf.constant(self._masked_logit, log_prob.dtype))

    def _entropy(self) -> tf.Tensor:
        log_probs = tf.math.log_softmax(self.logits, axis=-1)
        # A masked category adds nothing to the entropy, whatever its logit.
        terms = tf.where(self._mask, tf.exp(log_probs) * log_probs, tf.zeros_like(log_probs))
        return -tf.reduce_sum(terms, axis=-1)
