"""GaussianPolicy: another policy's actions with normal noise."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.policies.policy_wrapper import PolicyWrapper, assert_continuous
from distpolicy.policies.row_draws import normal_like, outer_shape_of
from distpolicy.policies.tf_policy import TFPolicy, leaf_seed
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten


class GaussianPolicy(PolicyWrapper):
    """Adds independent normal noise to every element of every row's action.

    The info is the wrapped policy's. A log-probability in it belongs to the action without noise.

    Args:
        wrapped_policy: The policy to wrap. All its actions are continuous.
        scale: Standard deviation of the noise: a number, a tensor or a variable that broadcasts with the actions.
        clip: Whether actions are clipped to their bounds after the noise is added.
        name: Name of the module.

    Raises:
        ValueError: If an action is not continuous. The message names the leaf.
        NotImplementedError: From ``distribution``.
    """

    def __init__(self, wrapped_policy: TFPolicy, scale: Any = 1.0, clip: bool = True, name: str | None = None) -> None:
        assert_continuous(wrapped_policy, "GaussianPolicy")
        super().__init__(wrapped_policy, clip=clip, name=name)
        self._scale = scale

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        step = self._wrapped_policy.action(time_step, policy_state, seed)
        outer_shape, own_seed = outer_shape_of(time_step.step_type), self._own_seed(seed)
        noisy = [
            action + tf.cast(self._scale, action.dtype) * normal_like(leaf_seed(own_seed, index), outer_shape, spec)
            for index, (action, spec) in enumerate(zip(flatten(step.action), flatten(self.action_spec), strict=True))
        ]
        return step._replace(action=tf.nest.pack_sequence_as(self.action_spec, noisy))

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError("GaussianPolicy does not have a distribution; call action()")
