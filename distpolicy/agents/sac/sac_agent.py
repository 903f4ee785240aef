"""SacAgent: soft actor-critic (Haarnoja et al., "Soft actor-critic algorithms and applications", 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.agents.critics import make_twin_critics
from distpolicy.agents.flat_adam import apply_gradients
from distpolicy.agents.off_policy_agent import OffPolicyAgent
from distpolicy.agents.off_policy_losses import clip_each, row_mean
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.distributions.reparameterized import draw_with_noise
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.random_share_policy import RandomSharePolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.nests.array_nest import paths

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class SacAgent(OffPolicyAgent):
    """Learns a stochastic policy that is rewarded for its entropy, by two critics and their targets.

    A gradient step is one of the critics, then one of the actor, then one of the temperature alpha. Variables that the
    actor shares with the critics, such as an encoder's, are trained by the critics alone.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of specs of floats.
        critic_network: From pairs of observations and actions to values ``[B]``; or to those of all critics,
            ``[B, N]``, as :class:`distpolicy.agents.twin_critic_network.TwinCriticNetwork` does.
        actor_network: From observations to distributions.
        actor_optimizer: A Keras optimizer, or a FlatAdam with a learning rate.
        critic_optimizer: The same, for all critics.
        alpha_optimizer: The same; None for a fixed temperature.
        actor_loss_weight: Factor of the actor's loss.
        critic_loss_weight: Factor of the critics' losses.
        alpha_loss_weight: Factor of the temperature's loss.
        actor_policy_ctor: Makes the policy from the specs and ``actor_network``.
        critic_network_2: The second critic; None for a copy of the first one.
        target_critic_network: The first critic's target; None for a copy.
        target_critic_network_2: The second critic's target; None for a copy.
        target_update_tau: Share of the critics' weights that an update of the targets takes.
        target_update_period: Gradient steps between two updates of the targets.
        td_errors_loss_fn: The loss of targets and values, row by row.
        gamma: The discount factor.
        reward_scale_factor: Factor of the rewards.
        initial_log_alpha: Logarithm of the temperature at first.
        use_log_alpha_in_alpha_loss: Whether the temperature's loss is linear in log(alpha), or in alpha.
        target_entropy: The entropy that the temperature is to lead to; None for minus half the size of an action.
        gradient_clipping: Bound of each gradient's norm; None for no bound.
        debug_summaries: Has no effect.
        summarize_grads_and_vars: Has no effect.
        train_step_counter: int64 variable that counts gradient steps; None to make one.
        name: Name of the module.
        n_step_update: n, the steps of a transition.
        jit_compile: Whether XLA compiles the update.

    Raises:
        ValueError: If an action is not of floats, a network has a state, there is a target for a second critic that is
            not there, or a copy of the critic has the same weights.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        critic_network: Network,
        actor_network: Network,
        actor_optimizer: Any,
        critic_optimizer: Any,
        alpha_optimizer: Any,
        actor_loss_weight: float = 1.0,
        critic_loss_weight: float = 0.5,
        alpha_loss_weight: float = 1.0,
        actor_policy_ctor: Callable[..., TFPolicy] = ActorPolicy,
        critic_network_2: Network | None = None,
        target_critic_network: Network | None = None,
        target_critic_network_2: Network | None = None,
        target_update_tau: float = 1.0,
        target_update_period: int = 1,
        td_errors_loss_fn: Loss = tf.math.squared_difference,
        gamma: float = 1.0,
        reward_scale_factor: float = 1.0,
        initial_log_alpha: float = 0.0,
        use_log_alpha_in_alpha_loss: bool = True,
        target_entropy: float | None = None,
        gradient_clipping: float | None = None,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        n_step_update: int = 1,
        jit_compile: bool = False,
    ) -> None:
        observation_spec = tensor_spec.from_spec(time_step_spec.observation)
        action_spec = tensor_spec.from_spec(action_spec)
        _check_actions(action_spec)
        actor_network.create_variables(observation_spec)
        if tf.nest.flatten(actor_network.state_spec):
            raise ConfigError(f"actor_network {actor_network.name} has a state, which replayed transitions do not hold")
        acting = actor_policy_ctor(time_step_spec=time_step_spec, action_spec=action_spec, actor_network=actor_network)
        self._exploring = exploring(acting)
        super().__init__(
            time_step_spec,
            action_spec,
            policy=GreedyPolicy(acting),
            collect_policy=self._exploring,
            gamma=gamma,
            n_step_update=n_step_update,
            train_step_counter=train_step_counter,
            jit_compile=jit_compile,
            name=name,
        )
        self._critics = make_twin_critics(
            time_step_spec,
            action_spec,
            (critic_network, critic_network_2),
            (target_critic_network, target_critic_network_2),
        )
        self._actor_network = actor_network
        known = {id(variable) for variable in self._critics.trained}
        object.__setattr__(
            self,
            "_self_actor_variables",
            [variable for variable in actor_network.trainable_variables if id(variable) not in known],
        )
        self._log_alpha = tf.Variable(
            initial_log_alpha, trainable=alpha_optimizer is not None, dtype=tf.float32, name="initial_log_alpha"
        )
        self._actor_optimizer, self._critic_optimizer = actor_optimizer, critic_optimizer
        self._alpha_optimizer = alpha_optimizer
        self._loss_weights = actor_loss_weight, critic_loss_weight, alpha_loss_weight
        self._target_update_tau, self._target_update_period = target_update_tau, target_update_period
        self._td_errors_loss_fn = td_errors_loss_fn
        self._reward_scale_factor = reward_scale_factor
        self._use_log_alpha_in_alpha_loss = use_log_alpha_in_alpha_loss
        self._action_sizes = [int(np.prod(spec.shape)) for spec in tf.nest.flatten(action_spec)]
        self._target_entropy = -sum(self._action_sizes) / 2.0 if target_entropy is None else target_entropy
        self._gradient_clipping = gradient_clipping

    @property
    def noise_spec(self) -> Any:
        """Noise for the next observation's action and for the observation's: float32 ``[2, action_size]`` a row."""
        return tensor_spec.TensorSpec((2, sum(self._action_sizes)), tf.float32, "noise")

    def explore(self, progress: float, has_begun: bool) -> None:
        """Lets the collect policy act uniformly until the agent has begun to learn; see :class:`TFAgent`."""
        self._exploring.random_share.assign(0.0 if has_begun else 1.0)

    def _initialize(self) -> None:
        self._critics.reset_targets()
        trained = (
            (self._actor_optimizer, self._self_actor_variables),
            (self._critic_optimizer, self._critics.trained),
            (self._alpha_optimizer, [self._log_alpha]),
        )
        for optimizer, variables in trained:
            if isinstance(optimizer, keras.optimizers.Optimizer) and not optimizer.built:
                optimizer.build(variables)

    def _train(
        self, experience: Transition | Trajectory, weights: tf.Tensor, *, noise: tf.Tensor | None = None
    ) -> LossInfo:
        transition = self._transition(experience)
        weights = self._valid(transition, weights)
        if noise is None:
            noise = tf.random.normal([tf.shape(weights)[0], *self.noise_spec.shape])
        step = self.train_step_counter.assign_add(1)
        critic_loss, values, errors = self._train_critics(transition, weights, noise[:, 0])
        actor_loss, log_probs = self._train_actor(transition.time_step, weights, noise[:, 1])
        alpha_loss = self._train_alpha(log_probs, weights)
        self._critics.update_targets(step, self._target_update_tau, self._target_update_period)
        figures = {
            "actor_loss": actor_loss,
            "critic_loss": critic_loss,
            "alpha_loss": alpha_loss,
            "alpha": tf.exp(self._log_alpha),
            "entropy": -row_mean(log_probs, tf.cast(weights > 0, tf.float32)),
            "q_mean": row_mean(tf.reduce_mean(values, axis=1), tf.cast(weights > 0, tf.float32)),
            "priorities": errors,
        }
        return LossInfo(actor_loss + critic_loss + alpha_loss, figures)

    def _draw(self, time_step: TimeStep, noise: tf.Tensor, training: bool) -> tuple[Any, tf.Tensor]:
        """Draws actions, nest of ``[B, *shape]``, and returns their log-probabilities, float32 ``[B]``."""
        outputs, _ = self._actor_network(time_step.observation, step_type=time_step.step_type, training=training)
        parts = tf.split(noise, self._action_sizes, axis=1)
        drawn = [draw_with_noise(*pair) for pair in zip(tf.nest.flatten(outputs), parts, strict=True)]
        actions = tf.nest.pack_sequence_as(self.action_spec, [action for action, _ in drawn])
        return actions, tf.add_n([tf.cast(log_prob, tf.float32) for _, log_prob in drawn])

    def _targets(self, after: TimeStep, noise: tf.Tensor) -> tf.Tensor:
        """Returns the values to learn, float32 ``[B]`` (equation 3 of the paper)."""
        actions, log_probs = self._draw(after, noise, training=False)
        values = self._critics.target_values(after.observation, actions, after.step_type)
        soft = tf.reduce_min(values, axis=1) - tf.exp(self._log_alpha) * log_probs
        return self._reward_scale_factor * after.reward + self._gamma * after.discount * soft

    def _train_critics(
        self, transition: Transition, weights: tf.Tensor, noise: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Takes a step of the critics; returns the loss, the values ``[B, N]`` and the absolute errors ``[B]``."""
        targets = self._targets(transition.next_time_step, noise)[:, tf.newaxis]
        now, variables = transition.time_step, self._critics.trained
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            values = self._critics.values(now.observation, transition.action_step.action, now.step_type, training=True)
            losses = self._td_errors_loss_fn(tf.broadcast_to(targets, tf.shape(values)), values)
            loss = row_mean(tf.reduce_sum(losses, axis=1), weights) + self._critics.regularization
            loss *= self._loss_weights[1]
        self._step(tape, loss, self._critic_optimizer, variables)
        return loss, values, tf.reduce_mean(tf.abs(targets - values), axis=1)

    def _train_actor(self, now: TimeStep, weights: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes a step of the actor; returns the loss and the log-probabilities of its actions before the step."""
        variables = self._self_actor_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            actions, log_probs = self._draw(now, noise, training=True)
            values = tf.reduce_min(self._critics.values(now.observation, actions, now.step_type), axis=1)
            loss = self._loss_weights[0] * row_mean(tf.exp(self._log_alpha) * log_probs - values, weights)
        self._step(tape, loss, self._actor_optimizer, variables)
        return loss, log_probs

    def _train_alpha(self, log_probs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Takes a step of the temperature towards the target entropy; returns the loss."""
        if self._alpha_optimizer is None:
            return tf.zeros(())
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._log_alpha)
            factor = self._log_alpha if self._use_log_alpha_in_alpha_loss else tf.exp(self._log_alpha)
            loss = self._loss_weights[2] * row_mean(factor * (-log_probs - self._target_entropy), weights)
        self._step(tape, loss, self._alpha_optimizer, [self._log_alpha])
        return loss

    def _step(self, tape: tf.GradientTape, loss: tf.Tensor, optimizer: Any, variables: list[tf.Variable]) -> None:
        gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        apply_gradients(optimizer, clip_each(gradients, self._gradient_clipping), variables)


def exploring(policy: TFPolicy) -> RandomSharePolicy:
    """Returns the policy that collectors run: ``policy``, or uniform actions before the agent has begun to learn."""
    return RandomSharePolicy(policy, name="collect_policy")


def _check_actions(action_spec: Any) -> None:
    for path, spec in zip(paths(action_spec), tf.nest.flatten(action_spec), strict=True):
        if not tensor_spec.is_continuous(spec):
            raise NotImplementedError(
                f"SacAgent has actions of floats, but action_spec{path} is of {spec.dtype.name}; "
                "DiscreteSacAgent is for a discrete action"
            )
