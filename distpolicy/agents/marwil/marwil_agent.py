"""MarwilAgent: monotonic advantage re-weighted imitation learning (Wang et al., 2018)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.agents.actor_critic import ActorCritic
from distpolicy.agents.adam import Adam, apply_gradients
from distpolicy.agents.marwil.config import MarwilConfig
from distpolicy.agents.off_policy_agent import OffPolicyAgent
from distpolicy.agents.off_policy_losses import row_mean
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.sampling.action_distributions import log_probability


class MarwilAgent(OffPolicyAgent):
    """Imitates the actions of a dataset, the better ones more: each counts ``exp(beta * advantage / scale)``.

    The advantage is the return that followed the action, less the critic's value. The scale is the root of a running
    mean of squared advantages. Where an episode was truncated or cut, the return ends with the critic's value of the
    last observation. With ``beta`` 0 it is behavioural cloning, and the critic learns nothing.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        actor_network: From observations, or from encodings, to distributions.
        value_network: From observations, or from encodings, to values.
        config: The settings.
        encoding_network: The network that actor and critic share; None if they read observations themselves.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether the update computes in bfloat16; see :class:`ActorCritic`.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        value_network: Network,
        config: MarwilConfig,
        encoding_network: Network | None = None,
        jit_compile: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        time_step_spec = tensor_spec.from_spec(time_step_spec)
        actor_critic = ActorCritic(
            time_step_spec.observation, actor_network, value_network, encoding_network, mixed_precision
        )
        collect_policy = ActorPolicy(time_step_spec, action_spec, actor_critic.policy_network, name="collect_policy")
        super().__init__(
            time_step_spec,
            action_spec,
            policy=GreedyPolicy(collect_policy),
            collect_policy=collect_policy,
            gamma=config.discount,
            jit_compile=jit_compile,
            name="marwil_agent",
        )
        self._config, self._actor_critic = config, actor_critic
        self._squared_advantage = tf.Variable(0.0, trainable=False, name="squared_advantage")
        self._trained = [*collect_policy.trainable_variables, *value_network.trainable_variables]
        self._optimizer = Adam(self._trained, 1e-8, config.max_gradient_norm, config.learning_rate)

    def _train(  # type: ignore[override]  # What it asks for beside is given by keyword.
        self,
        experience: Transition,
        weights: tf.Tensor,
        *,
        return_to_go: tf.Tensor,
        final_observation: Any,
        final_discount: tf.Tensor,
    ) -> LossInfo:
        config, now = self._config, experience.time_step
        weights = self._valid(experience, weights)
        _, final_value, _ = self._actor_critic(final_observation, now.step_type, ())
        returns = return_to_go + final_discount * final_value
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            distribution, value, _ = self._actor_critic(now.observation, now.step_type, ())
            advantage = returns - value
            scale = self._scale(advantage, weights)
            factor = tf.minimum(tf.exp(config.beta * tf.stop_gradient(advantage) / scale), config.max_weight)
            likelihood = log_probability(distribution, experience.action_step.action, self.action_spec)
            policy_loss = -row_mean(factor * tf.cast(likelihood, tf.float32), weights)
            value_loss = 0.5 * row_mean(tf.square(advantage), weights)
            loss = policy_loss + (config.value_loss_weight * value_loss if config.beta else 0.0)
        gradients = tape.gradient(loss, self._trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        norm = apply_gradients(self._optimizer, gradients, self._trained)
        self.train_step_counter.assign_add(1)
        figures = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "advantage_scale": scale,
            "weight_mean": row_mean(factor, weights),
            "gradient_norm": norm,
        }
        return LossInfo(loss, figures)

    def _scale(self, advantage: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Takes a batch into the running mean, which begins with the first batch; returns its root."""
        mean = row_mean(tf.square(tf.stop_gradient(advantage)), weights)
        before = self._squared_advantage
        rate = tf.where(tf.equal(self.train_step_counter, 0), 1.0, self._config.advantage_scale_rate)
        return tf.sqrt(before.assign(before + rate * (mean - before)) + 1e-8)
