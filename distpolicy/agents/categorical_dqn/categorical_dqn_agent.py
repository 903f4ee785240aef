"""CategoricalDqnAgent: Q-learning of distributions over returns, with TF-Agents' arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from distpolicy.agents.dqn.dqn_agent import DqnAgent, TDLoss
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.ops.categorical_projection import project_distribution
from distpolicy.ops.q_learning import greedy_actions, td_target, values_of
from distpolicy.policies.categorical_q_policy import CategoricalQPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.transitions import Transition


class CategoricalDqnAgent(DqnAgent):
    """Learns a categorical distribution over returns for each action (C51; Bellemare, Dabney and Munos, 2017).

    The loss of a transition is the cross entropy between the projected distribution of the target and the network's
    own. It is also the row's new priority, as in Rainbow (Hessel et al., 2018).

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: One bounded scalar integer spec.
        categorical_q_network: From observations to logits ``[..., num_actions, num_atoms]``, with ``num_atoms``.
        optimizer: See :class:`DqnAgent`, for all that follows, too.
        observation_and_action_constraint_splitter: See there.
        min_q_value: The lowest return of the support.
        max_q_value: The highest return of the support.
        epsilon_greedy: See there.
        n_step_update: See there.
        boltzmann_temperature: See there.
        target_categorical_q_network: Like ``categorical_q_network``, with weights of its own; None for a copy.
        target_update_tau: See there.
        target_update_period: See there.
        td_errors_loss_fn: Accepted for TF-Agents' callers; the loss is the cross entropy.
        gamma: See there.
        reward_scale_factor: See there.
        gradient_clipping: See there.
        debug_summaries: See there.
        summarize_grads_and_vars: See there.
        train_step_counter: See there.
        name: Name of the module.
        epsilon_schedule: See there.
        epsilon_spread: See there.
        jit_compile: See there.
        mixed_precision: See there.

    Raises:
        ValueError: If the network has no atoms, or as for :class:`DqnAgent`.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        categorical_q_network: Network,
        optimizer: Any,
        observation_and_action_constraint_splitter: Any = None,
        min_q_value: float = -10.0,
        max_q_value: float = 10.0,
        epsilon_greedy: float | tf.Variable | Callable[[], Any] | None = 0.1,
        n_step_update: int = 1,
        boltzmann_temperature: Any = None,
        target_categorical_q_network: Network | None = None,
        target_update_tau: float = 1.0,
        target_update_period: int = 1,
        td_errors_loss_fn: Any = None,
        gamma: float = 1.0,
        reward_scale_factor: float = 1.0,
        gradient_clipping: float | None = None,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        epsilon_schedule: Callable[[float, bool], float] | None = None,
        epsilon_spread: float = 0.0,
        jit_compile: bool = True,
        mixed_precision: bool = False,
    ) -> None:
        if tf.nest.flatten(categorical_q_network.state_spec):
            raise ConfigError(
                f"categorical_q_network {categorical_q_network.name} has a state: use a DqnAgent with a QRnnNetwork"
            )
        self._bounds = (float(min_q_value), float(max_q_value))
        super().__init__(
            time_step_spec,
            action_spec,
            categorical_q_network,
            optimizer,
            observation_and_action_constraint_splitter=observation_and_action_constraint_splitter,
            epsilon_greedy=epsilon_greedy,
            n_step_update=n_step_update,
            boltzmann_temperature=boltzmann_temperature,
            target_q_network=target_categorical_q_network,
            target_update_tau=target_update_tau,
            target_update_period=target_update_period,
            gamma=gamma,
            reward_scale_factor=reward_scale_factor,
            gradient_clipping=gradient_clipping,
            train_step_counter=train_step_counter,
            name=name,
            epsilon_schedule=epsilon_schedule,
            epsilon_spread=epsilon_spread,
            jit_compile=jit_compile,
            mixed_precision=mixed_precision,
        )

    def _base_policy(
        self, time_step_spec: TimeStep, action_spec: Any, q_network: Network, splitter: Any, emit_log_probability: bool
    ) -> TFPolicy:
        return CategoricalQPolicy(time_step_spec, action_spec, q_network, *self._bounds, splitter)

    def _td_loss(self, transition: Transition, training: bool = True) -> TDLoss:
        support = tf.linspace(*self._bounds, self._q_network.num_atoms)
        logits = _of_action(
            self._outputs(self._q_network, transition.time_step, training), self._action_index(transition)
        )
        next_step = transition.next_time_step
        next_probabilities = tf.nn.softmax(self._outputs(self._target_q_network, next_step))
        next_values = tf.linalg.matvec(next_probabilities, support)
        next_action = greedy_actions(next_values, self._mask(next_step))
        reward = tf.cast(next_step.reward, tf.float32) * self._reward_scale_factor
        discount = self._gamma * tf.cast(next_step.discount, tf.float32)
        projected = project_distribution(
            reward[:, tf.newaxis] + discount[:, tf.newaxis] * support,
            _of_action(next_probabilities, next_action),
            support,
        )
        loss = tf.nn.softmax_cross_entropy_with_logits(labels=projected, logits=logits)
        value = tf.linalg.matvec(tf.nn.softmax(logits), support)
        error = td_target(reward, discount, values_of(next_values, next_action)) - value
        return TDLoss(loss, error, value, loss)


def _of_action(distributions: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """Returns the distributions of the given actions, ``[B, num_atoms]``.

    Args:
        distributions: float ``[B, num_actions, num_atoms]``.
        actions: int32 ``[B]``.
    """
    chosen = tf.one_hot(actions, int(distributions.shape[1]), on_value=True, off_value=False, dtype=tf.bool)
    return tf.reduce_sum(tf.where(chosen[..., tf.newaxis], distributions, tf.zeros_like(distributions)), axis=1)
