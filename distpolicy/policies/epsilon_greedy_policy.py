"""EpsilonGreedyPolicy: the greedy action, or with some probability a random one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.masks import split_mask
from distpolicy.policies.policy_wrapper import PolicyWrapper
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.policies.row_draws import outer_shape_of, stream_seed, uniform_rows, where_rows
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories import policy_step as ps
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep


class EpsilonGreedyPolicy(PolicyWrapper):
    """Takes a random action with probability epsilon, row by row, and the wrapped policy's most likely one otherwise.

    If the info holds a log-probability, it is computed for this mixture. For the greedy action it includes the chance
    to draw the same action at random. A continuous greedy action is a point. Its log-probability is
    ``log(1 - epsilon)``, and other actions have a log-density. The rest of the info is the wrapped policy's, also for
    random actions.

    Args:
        policy: The policy to wrap.
        epsilon: Probability of a random action: a float, a tensor, a variable, or a callable that returns one. A
            compiled policy keeps the first Python number that a callable returns; to change epsilon later, let the
            callable read a variable.
        exploration_mask: For one discrete action: 1 for each action to explore, 0 for the others. Where the wrapped
            policy's own mask allows none of these, every action that it allows is explored.
        info_fields_to_inherit_from_greedy: Names of fields of the info. They are checked and otherwise ignored, since
            all fields come from the wrapped policy.
        name: Name of the module.
        **arguments: Arguments of TFPolicy that differ from the wrapped policy's, for subclasses.

    Raises:
        ValueError: If epsilon is not in [0, 1], the exploration mask does not have one entry for each action or allows
            none, or the info does not have one of the fields.
        NotImplementedError: If there is a mask and the policy does not have exactly one discrete action.
    """

    def __init__(
        self,
        policy: TFPolicy,
        epsilon: float | tf.Tensor | tf.Variable | Callable[[], Any],
        exploration_mask: Sequence[int] | None = None,
        info_fields_to_inherit_from_greedy: Sequence[str] = (),
        name: str | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(policy, sets_log_probability=True, clip=False, name=name, **arguments)
        _check_epsilon(epsilon)
        fields = getattr(self.info_spec, "_fields", self.info_spec)
        for field in info_fields_to_inherit_from_greedy:
            if field not in fields:
                raise ConfigError(f"info_fields_to_inherit_from_greedy: the policy's info has no field {field!r}")
        self._epsilon = epsilon
        self._greedy_policy = GreedyPolicy(policy)
        # The greedy policy checks the same inputs, so the random policies need not.
        if exploration_mask is None:
            splitter = policy.observation_and_action_constraint_splitter
            self._random_policy: RandomTFPolicy = RandomTFPolicy(
                policy.time_step_spec,
                policy.action_spec,
                observation_and_action_constraint_splitter=splitter,
                validate_args=False,
            )
        else:
            self._random_policy = _ExplorationPolicy(policy, exploration_mask)

    @property
    def epsilon(self) -> Any:
        """The probability of a random action, as passed to the constructor."""
        return self._epsilon

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        return self._mixed_action(time_step, policy_state, seed, self._epsilon_now())

    def _epsilon_now(self) -> tf.Tensor:
        """Returns epsilon, float32 scalar."""
        return tf.cast(self._epsilon() if callable(self._epsilon) else self._epsilon, tf.float32)

    def _mixed_action(self, time_step: TimeStep, policy_state: Any, seed: Any, epsilon: tf.Tensor) -> PolicyStep:
        """Returns the step for the wrapped policy's state and an epsilon, a scalar or one for each row."""
        greedy = self._greedy_policy.action(time_step, policy_state, seed)
        own_seed = self._own_seed(seed)
        random = self._random_policy.action(time_step, (), own_seed).action
        explores = uniform_rows(stream_seed(own_seed, 1), outer_shape_of(time_step.step_type)) < epsilon
        action = where_rows(explores, random, greedy.action)
        info = greedy.info
        if self._emit_log_probability:
            random_log_probability = self._random_policy.log_probability(time_step, action)

            def mixed(drawn: tf.Tensor, best: tf.Tensor, log_probability: tf.Tensor) -> tf.Tensor:
                return _mixture_log_probability(drawn, best, log_probability, epsilon)

            info = ps.set_log_probability(
                info, tf.nest.map_structure(mixed, action, greedy.action, random_log_probability)
            )
        return PolicyStep(action, greedy.state, info)

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError("EpsilonGreedyPolicy does not have a distribution; call action()")


def _check_epsilon(epsilon: Any) -> None:
    if isinstance(epsilon, int | float | np.number) and not (0.0 <= float(epsilon) <= 1.0):
        kind = "NaN" if math.isnan(float(epsilon)) else str(epsilon)
        raise ConfigError(f"epsilon must be in [0, 1], but is {kind}")


class _ExplorationPolicy(RandomTFPolicy):
    """Draws from the actions that both an exploration mask and the policy's own mask allow."""

    def __init__(self, policy: TFPolicy, exploration_mask: Sequence[int]) -> None:
        self._own_splitter = policy.observation_and_action_constraint_splitter
        super().__init__(
            policy.time_step_spec,
            policy.action_spec,
            observation_and_action_constraint_splitter=lambda observation: (observation, exploration_mask),
            validate_args=False,
        )
        self._explored = np.asarray(exploration_mask) != 0
        if self._explored.shape != (self.num_actions,) or not self._explored.any():
            raise ConfigError(
                f"exploration_mask must have {self.num_actions} entries, one for each action, and not all 0; "
                f"it is {np.asarray(exploration_mask).tolist()}"
            )

    def _mask(self, time_step: TimeStep) -> tf.Tensor:
        outer_shape = outer_shape_of(time_step.step_type)
        explored = tf.broadcast_to(self._explored, tf.concat([outer_shape, [self.num_actions]], axis=0))
        if self._own_splitter is None:
            return explored
        (spec,) = tf.nest.flatten(self.action_spec)
        allowed = tf.cast(split_mask(self._own_splitter, time_step.observation, spec)[1], tf.bool)
        both = tf.logical_and(allowed, explored)
        return tf.where(tf.reduce_any(both, axis=-1, keepdims=True), both, allowed)


def _mixture_log_probability(
    drawn: tf.Tensor, best: tf.Tensor, random_log_probability: tf.Tensor, epsilon: tf.Tensor
) -> tf.Tensor:
    """Returns ``log(epsilon p_random(a) + (1 - epsilon) [a is the greedy action])``, float32 ``[...]``."""
    inner = list(range(random_log_probability.shape.rank, drawn.shape.rank))
    is_best = tf.reduce_all(tf.equal(drawn, best), axis=inner)
    if drawn.dtype.is_floating:
        # A probability and a density cannot be added.
        return tf.where(is_best, tf.math.log(1.0 - epsilon), tf.math.log(epsilon) + random_log_probability)
    return tf.math.log(epsilon * tf.exp(random_log_probability) + tf.where(is_best, 1.0 - epsilon, 0.0))
