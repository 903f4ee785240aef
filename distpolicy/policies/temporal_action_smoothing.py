"""TemporalActionSmoothing: another policy's actions, each mixed with the previous one."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.policies.policy_wrapper import MemoryWrapper
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep


class TemporalActionSmoothing(MemoryWrapper):
    """Returns ``coefficient * last_action + (1 - coefficient) * action``. The last action is 0 at FIRST steps.

    The state is ``(wrapped_state, last_action)``, where the last action is not yet clipped to its bounds. The info is
    the wrapped policy's.

    Args:
        policy: The policy to wrap. All its actions are continuous.
        smoothing_coefficient: The last action's share, in [0, 1].
        name: Name of the module.

    Raises:
        ValueError: If an action is not continuous, or the coefficient is not in [0, 1].
        NotImplementedError: From ``distribution``.
    """

    def __init__(self, policy: TFPolicy, smoothing_coefficient: float, name: str | None = None) -> None:
        if not 0.0 <= smoothing_coefficient <= 1.0:
            raise ConfigError(f"smoothing_coefficient must be in [0, 1], but is {smoothing_coefficient}")
        super().__init__(policy, name=name)
        self._smoothing_coefficient = smoothing_coefficient

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        step = self._wrapped_policy.action(time_step, policy_state[0], seed)
        last_action = self._memory(time_step, policy_state)
        share = self._smoothing_coefficient
        smoothed = tf.nest.map_structure(lambda old, new: share * old + (1.0 - share) * new, last_action, step.action)
        return PolicyStep(smoothed, (step.state, smoothed), step.info)
