"""RandomSharePolicy: another policy's actions, or with some probability uniform ones."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.policies.policy_wrapper import PolicyWrapper
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.policies.row_draws import outer_shape_of, stream_seed, uniform_rows, where_rows
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep


class RandomSharePolicy(PolicyWrapper):
    """Takes a uniform action with a probability that is one of its variables, row by row.

    Off-policy agents act at random before they have begun to learn. Since the probability is a variable that is not
    trained, it reaches collectors with the weights. The state and the info are the wrapped policy's, and so is the
    distribution.

    Args:
        policy: The policy to wrap. Its masks hold for random actions, too.
        random_share: The probability at first.
        name: Name of the module.

    Attributes:
        random_share: float32 variable, scalar, in [0, 1].
    """

    def __init__(self, policy: TFPolicy, random_share: float = 0.0, name: str | None = None) -> None:
        super().__init__(policy, clip=False, name=name)
        self.random_share = tf.Variable(random_share, trainable=False, dtype=tf.float32, name="random_share")
        # The wrapped policy checks the same inputs, so the random one need not.
        self._random_policy = RandomTFPolicy(
            policy.time_step_spec,
            policy.action_spec,
            observation_and_action_constraint_splitter=policy.observation_and_action_constraint_splitter,
            validate_args=False,
        )

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        step = self._wrapped_policy.action(time_step, policy_state, seed)
        own_seed, outer_shape = self._own_seed(seed), outer_shape_of(time_step.step_type)
        random = self._random_policy.action(time_step, (), own_seed).action
        explores = uniform_rows(stream_seed(own_seed, 1), outer_shape) < self.random_share
        return step._replace(action=where_rows(explores, random, step.action))

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        return self._wrapped_policy.distribution(time_step, policy_state)
