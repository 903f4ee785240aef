"""NoisyQPolicy: acts by a noisy Q-network, with new noise in each step."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.networks.noisy_q_network import NoisyQNetwork
from distpolicy.policies.epsilon_greedy_policy import EpsilonGreedyPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.masks import split_mask
from distpolicy.policies.q_policy import QPolicy, categorical_for
from distpolicy.policies.row_draws import outer_shape_of, seeds_of_rows, stream_seed
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.sampling.tensor_draws import row_normal


class NoisyQPolicy(EpsilonGreedyPolicy):
    """Takes the best action by noisy Q-values, or with probability epsilon a random one (Fortunato et al., 2018).

    Every row has noise of its own, by its seed, and new noise in each step.

    Args:
        policy: A policy by the network's Q-values.
        q_network: The network.
        epsilon: See :class:`EpsilonGreedyPolicy`: 1 before an agent has begun to learn, and 0 afterwards.
        name: Name of the module.

    Raises:
        ValueError: If the policy emits log-probabilities, which noise does not have.
    """

    def __init__(self, policy: QPolicy, q_network: NoisyQNetwork, epsilon: Any, name: str | None = None) -> None:
        if policy.emit_log_probability:
            raise ConfigError("a NoisyQPolicy has no log-probabilities: set emit_log_probability to False")
        super().__init__(policy, epsilon, name=name)
        self._greedy_policy = _NoisyGreedyPolicy(policy, q_network)


class _NoisyGreedyPolicy(GreedyPolicy):
    """Takes the best action by noisy Q-values."""

    def __init__(self, policy: TFPolicy, q_network: NoisyQNetwork) -> None:
        super().__init__(policy)
        self._q_network = q_network

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        (spec,) = tf.nest.flatten(self.action_spec)
        outer_shape, num_noise = outer_shape_of(time_step.step_type), self._q_network.num_noise
        drawn = row_normal(seeds_of_rows(stream_seed(seed, 3), outer_shape), num_noise)
        noise = tf.reshape(drawn, tf.concat([outer_shape, [num_noise]], axis=0))
        network_input, mask = split_mask(self._splitter, time_step.observation, spec)
        q_values, _ = self._q_network(network_input, step_type=time_step.step_type, noise=noise)
        action = categorical_for(spec, q_values, mask).mode()
        return PolicyStep(tf.nest.pack_sequence_as(self.action_spec, [action]), policy_state, ())
