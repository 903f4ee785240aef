"""GreedyPolicy: the mode of another policy's distribution."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.policies.policy_wrapper import PolicyWrapper
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories import policy_step as ps
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure


class GreedyPolicy(PolicyWrapper):
    """Always takes the wrapped policy's most likely action, and shares its variables.

    The info is the wrapped policy's, but a log-probability in it is 0, since the action is certain.

    Args:
        policy: The policy to wrap.
        name: Name of the module.

    Raises:
        ValueError: When the policy acts, if a distribution of the wrapped policy has no mode.
    """

    def __init__(self, policy: TFPolicy, name: str | None = None) -> None:
        super().__init__(policy, sets_log_probability=True, name=name)

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        step = self._wrapped_policy.distribution(time_step, policy_state)
        modes = map_structure(lambda item: tfp.distributions.Deterministic(loc=_mode(item)), step.action)
        return PolicyStep(modes, step.state, step.info)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        step = self._wrapped_policy.distribution(time_step, policy_state)
        modes = tf.nest.pack_sequence_as(self.action_spec, [_mode(item) for item in flatten(step.action)])
        info = step.info
        if self._emit_log_probability:
            certain = [tf.zeros(item.batch_shape_tensor()) for item in flatten(step.action)]
            info = ps.set_log_probability(info, tf.nest.pack_sequence_as(self.action_spec, certain))
        return PolicyStep(modes, step.state, info)


def _mode(distribution: tfp.distributions.Distribution) -> tf.Tensor:
    try:
        return distribution.mode()
    except NotImplementedError as error:
        raise ValueError(
            f"{type(distribution).__name__} has no mode, so GreedyPolicy cannot act by it; wrap a policy whose "
            f"distributions have one"
        ) from error
