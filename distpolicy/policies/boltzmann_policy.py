"""BoltzmannPolicy: another policy's logits at a temperature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.masked import MaskedCategorical
from distpolicy.distributions.shifted_categorical import ShiftedCategorical
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.policies.policy_wrapper import PolicyWrapper
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure


class BoltzmannPolicy(PolicyWrapper):
    """Divides the wrapped policy's logits by a temperature. Masks stay as they are.

    Args:
        policy: A policy whose distributions are categorical.
        temperature: A float, a tensor, a variable, or a callable that returns one. The closer to 0, the more often
            the most likely action is drawn. A compiled policy keeps the first Python number that a callable returns;
            to change the temperature later, let the callable read a variable.
        name: Name of the module.

    Raises:
        ValueError: If the temperature is not positive; when the policy acts, if a distribution has no logits.
    """

    def __init__(
        self,
        policy: TFPolicy,
        temperature: float | tf.Tensor | tf.Variable | Callable[[], Any] = 1.0,
        name: str | None = None,
    ) -> None:
        if isinstance(temperature, int | float | np.number) and not float(temperature) > 0.0:
            raise ConfigError(f"temperature must be positive, but is {temperature}")
        super().__init__(policy, sets_log_probability=True, clip=False, name=name)
        self._temperature = temperature

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        step = self._wrapped_policy.distribution(time_step, policy_state)
        temperature = self._temperature() if callable(self._temperature) else self._temperature
        return step._replace(action=map_structure(lambda item: _tempered(item, temperature), step.action))


def _tempered(distribution: tfp.distributions.Distribution, temperature: Any) -> tfp.distributions.Distribution:
    if isinstance(distribution, tfp.distributions.Independent):
        return tfp.distributions.Independent(
            _tempered(distribution.distribution, temperature),
            reinterpreted_batch_ndims=distribution.reinterpreted_batch_ndims,
        )
    if isinstance(distribution, ShiftedCategorical):
        inner = distribution.distribution
        mask = inner.mask if isinstance(inner, MaskedCategorical) else None
        logits = _divided(inner.logits_parameter(), temperature)
        return ShiftedCategorical(logits=logits, mask=mask, dtype=distribution.dtype, shift=distribution.shift)
    if isinstance(distribution, MaskedCategorical):
        logits = _divided(distribution.logits_parameter(), temperature)
        return MaskedCategorical(logits, distribution.mask, dtype=distribution.dtype, neg_inf=None)
    if isinstance(distribution, tfp.distributions.Categorical):
        logits = _divided(distribution.logits_parameter(), temperature)
        return tfp.distributions.Categorical(logits=logits, dtype=distribution.dtype)
    raise SpecMismatchError(
        f"BoltzmannPolicy needs categorical distributions, but the wrapped policy has a {type(distribution).__name__}"
    )


def _divided(logits: tf.Tensor, temperature: Any) -> tf.Tensor:
    return logits / tf.cast(temperature, logits.dtype)
