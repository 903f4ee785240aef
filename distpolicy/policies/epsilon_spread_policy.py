"""EpsilonSpreadPolicy: epsilon-greedy actions with an epsilon of its own for each episode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.policies.epsilon_greedy_policy import EpsilonGreedyPolicy
from distpolicy.policies.row_draws import outer_shape_of, stream_seed, uniform_rows
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep


class EpsilonSpreadPolicy(EpsilonGreedyPolicy):
    """Explores by ``epsilon ** (1 + spread * u)``, where u is uniform in (0, 1) and drawn at the start of each episode.

    In Ape-X (Horgan et al., 2018) actor i of N has ``epsilon ** (1 + alpha * i / (N - 1))``. Here it is the episode
    that has the exponent, so that any number of environments explores alike. The state is ``(wrapped_state, u)``.

    Args:
        policy: The policy to wrap.
        epsilon: See :class:`EpsilonGreedyPolicy`.
        spread: The largest exponent less 1: Ape-X's alpha, which is 7 there, with an epsilon of 0.4.
        name: Name of the module.

    Raises:
        ValueError: If epsilon is not in [0, 1], or the spread is below 0; when it acts, if time steps have two outer
            dimensions.
    """

    def __init__(
        self,
        policy: TFPolicy,
        epsilon: float | tf.Tensor | tf.Variable | Callable[[], Any],
        spread: float,
        name: str | None = None,
    ) -> None:
        if not spread >= 0.0:
            raise ConfigError(f"spread must be 0 or more, but is {spread}")
        state_spec = (policy.policy_state_spec, tensor_spec.TensorSpec((), tf.float32, "exploration"))
        super().__init__(policy, epsilon, name=name, policy_state_spec=state_spec)
        self._spread = spread

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        is_first = tf.convert_to_tensor(time_step.is_first())
        if is_first.shape.rank > 1:
            raise SpecMismatchError(
                f"{self.name} is stateful; pass time steps with one outer dimension, not {is_first.shape}"
            )
        wrapped_state, place = policy_state
        drawn = uniform_rows(stream_seed(self._own_seed(seed), 2), outer_shape_of(time_step.step_type))
        place = tf.where(is_first, drawn, place)
        epsilon = tf.pow(self._epsilon_now(), 1.0 + self._spread * place)
        step = self._mixed_action(time_step, wrapped_state, seed, epsilon)
        return step._replace(state=(step.state, place))

    def _get_initial_state(self, batch_size: Any) -> Any:
        outer_dims = () if batch_size is None else tf.reshape(batch_size, [1])
        return self._wrapped_policy.get_initial_state(batch_size), tf.zeros(outer_dims)
