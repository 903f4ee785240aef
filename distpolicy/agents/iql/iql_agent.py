"""IqlAgent: implicit Q-learning (Kostrikov et al., "Offline reinforcement learning with implicit Q-learning", 2021)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from distpolicy.agents.adam import apply_gradients
from distpolicy.agents.critics import make_twin_critics
from distpolicy.agents.mixed_precision import in_bfloat16, layers_in_bfloat16
from distpolicy.agents.off_policy_agent import OffPolicyAgent
from distpolicy.agents.off_policy_losses import clip_each, row_mean
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.sampling.action_distributions import log_probability


class IqlAgent(OffPolicyAgent):
    """Learns values of the data's actions alone, and imitates the better ones; no action is valued that was not taken.

    Each gradient step is one of three networks, all from the weights before it:

    - the state's value learns an expectile of the target critics' smaller value of the action taken (equation 5);
    - the critics learn the reward and the discounted value of the next state (equation 6);
    - the actor imitates the action, which counts ``exp(beta * advantage)``, at most ``max_weight`` (equation 7).

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        critic_network: From pairs of observations and actions to values ``[B]``.
        value_network: From observations to values ``[B]``.
        actor_network: From observations to distributions.
        actor_optimizer: A Keras optimizer, or an Adam.
        critic_optimizer: The same, for both critics.
        value_optimizer: The same.
        critic_network_2: The second critic; None for a copy of the first one with initial weights of its own.
        expectile: tau of the paper, in [0, 1].
        beta: The inverse temperature.
        max_weight: Bound of an action's weight.
        target_update_tau: Share of the critics' weights that an update of the targets takes.
        target_update_period: Gradient steps between two updates of the targets.
        gamma: The discount factor.
        reward_scale_factor: Factor of the rewards.
        gradient_clipping: Bound of each gradient's norm; None for no bound.
        train_step_counter: int64 variable that counts gradient steps; None to make one.
        name: Name of the module.
        n_step_update: n, the steps of a transition.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16 when they learn. Policies compute in float32.

    Raises:
        ValueError: If a network has a state, or a copy of the critic has the same weights.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        critic_network: Network,
        value_network: Network,
        actor_network: Network,
        actor_optimizer: Any,
        critic_optimizer: Any,
        value_optimizer: Any,
        critic_network_2: Network | None = None,
        expectile: float = 0.7,
        beta: float = 3.0,
        max_weight: float = 100.0,
        target_update_tau: float = 0.005,
        target_update_period: int = 1,
        gamma: float = 0.99,
        reward_scale_factor: float = 1.0,
        gradient_clipping: float | None = None,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        n_step_update: int = 1,
        jit_compile: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        collect_policy = ActorPolicy(time_step_spec, action_spec, actor_network, name="collect_policy")
        super().__init__(
            time_step_spec,
            action_spec,
            policy=GreedyPolicy(collect_policy),
            collect_policy=collect_policy,
            gamma=gamma,
            n_step_update=n_step_update,
            train_step_counter=train_step_counter,
            jit_compile=jit_compile,
            name=name,
        )
        input_spec = (self.time_step_spec.observation, self.action_spec)
        self._critics = make_twin_critics(input_spec, (critic_network, critic_network_2), (None, None))
        value_network.create_variables(self.time_step_spec.observation)
        self._value_network, self._actor_network = value_network, actor_network
        self._actor_optimizer, self._critic_optimizer = actor_optimizer, critic_optimizer
        self._value_optimizer = value_optimizer
        self._expectile, self._beta, self._max_weight = expectile, beta, max_weight
        self._target_update_tau, self._target_update_period = target_update_tau, target_update_period
        self._reward_scale_factor, self._gradient_clipping = reward_scale_factor, gradient_clipping

        networks = [actor_network, value_network, *self._critics.networks]
        # Hidden from tf.Module's tracking: the networks track these layers already.
        object.__setattr__(self, "_self_layers_in_bfloat16", layers_in_bfloat16(networks, mixed_precision))

    def _initialize(self) -> None:
        self._critics.reset_targets()
        for optimizer, variables in zip(self._optimizers, self._variables, strict=True):
            if isinstance(optimizer, keras.optimizers.Optimizer) and not optimizer.built:
                optimizer.build(variables)

    @property
    def _optimizers(self) -> list[Any]:
        return [self._value_optimizer, self._critic_optimizer, self._actor_optimizer]

    @property
    def _variables(self) -> list[list[tf.Variable]]:
        """The variables of value network, critics and actor."""
        return [
            list(self._value_network.trainable_variables),
            self._critics.trained,
            list(self._actor_network.trainable_variables),
        ]

    def _train(self, experience: Transition | Trajectory, weights: tf.Tensor) -> LossInfo:
        with in_bfloat16(self._self_layers_in_bfloat16):
            return self._train_networks(experience, weights)

    def _train_networks(self, experience: Transition | Trajectory, weights: tf.Tensor) -> LossInfo:
        transition = self._transition(experience)
        weights = self._valid(transition, weights)
        now, action = transition.time_step, transition.action_step.action
        target_value = tf.reduce_min(self._critics.target_values((now.observation, action), now.step_type), axis=1)
        next_value = self._state_value(transition.next_time_step)
        variables = self._variables
        with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
            tape.watch(variables)
            advantage = target_value - self._state_value(now)
            value_loss = row_mean(expectile_loss(advantage, self._expectile), weights)
            values = self._critics.values((now.observation, action), now.step_type, training=True)
            errors = self._target(transition.next_time_step, next_value)[:, tf.newaxis] - values
            critic_loss = row_mean(tf.reduce_sum(tf.square(errors), axis=1), weights) + self._critics.regularization
            factor = tf.minimum(tf.exp(self._beta * tf.stop_gradient(advantage)), self._max_weight)
            distribution, _ = self._actor_network(now.observation, step_type=now.step_type, training=True)
            likelihood = tf.cast(log_probability(distribution, action, self.action_spec), tf.float32)
            actor_loss = -row_mean(factor * likelihood, weights)
        losses = (value_loss, critic_loss, actor_loss)
        gradients = [tape.gradient(loss, own) for loss, own in zip(losses, variables, strict=True)]
        for optimizer, found, own in zip(self._optimizers, gradients, variables, strict=True):
            apply_gradients(optimizer, clip_each(found, self._gradient_clipping), own)
        step = self.train_step_counter.assign_add(1)
        self._critics.update_targets(step, self._target_update_tau, self._target_update_period)
        figures = {
            "actor_loss": actor_loss,
            "critic_loss": critic_loss,
            "value_loss": value_loss,
            "q_mean": row_mean(tf.reduce_mean(values, axis=1), weights),
            "weight_mean": row_mean(factor, weights),
        }
        return LossInfo(tf.add_n(losses), figures)

    def _state_value(self, time_step: TimeStep) -> tf.Tensor:
        value, _ = self._value_network(time_step.observation, step_type=time_step.step_type)
        return tf.cast(value, tf.float32)

    def _target(self, after: TimeStep, next_value: tf.Tensor) -> tf.Tensor:
        return self._reward_scale_factor * after.reward + self._gamma * after.discount * next_value


def expectile_loss(difference: tf.Tensor, expectile: float) -> tf.Tensor:
    """Returns ``|expectile - 1(difference < 0)| * difference ** 2``, element by element (equation 4).

    Args:
        difference: float ``[...]``: of what is learned, less the value.
        expectile: In [0, 1].
    """
    share = tf.where(difference < 0.0, 1.0 - expectile, expectile)
    return tf.cast(share, difference.dtype) * tf.square(difference)
