"""GreedyPolicy: the mode of another policy's distribution."""

from __future__ import annotations

from typing import Any

import tensorflow_probability as tfp

from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.array_nest import map_structure


class GreedyPolicy(TFPolicy):
    """Always takes the most likely action of the policy that it wraps, and shares its variables.

    Args:
        policy: The policy to wrap. Its info is not passed on.
        name: Name of the module.
    """

    def __init__(self, policy: TFPolicy, name: str | None = None) -> None:
        super().__init__(
            policy.time_step_spec,
            policy.action_spec,
            policy_state_spec=policy.policy_state_spec,
            # The wrapped policy resets the state.
            automatic_state_reset=False,
            name=name,
        )
        self._wrapped_policy = policy

    @property
    def wrapped_policy(self) -> TFPolicy:
        """The policy that is wrapped."""
        return self._wrapped_policy

    def _get_initial_state(self, batch_size: Any) -> Any:
        return self._wrapped_policy.get_initial_state(batch_size)

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        step = self._wrapped_policy.distribution(time_step, policy_state)
        modes = map_structure(lambda item: tfp.distributions.Deterministic(loc=item.mode()), step.action)
        return PolicyStep(modes, step.state, ())
