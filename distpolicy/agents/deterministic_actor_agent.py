"""DeterministicActorAgent: what DDPG and TD3 have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.agents.adam import apply_gradients
from distpolicy.agents.critics import Critics
from distpolicy.agents.mixed_precision import in_bfloat16, layers_in_bfloat16
from distpolicy.agents.off_policy_agent import OffPolicyAgent
from distpolicy.agents.off_policy_losses import clip_each, row_mean
from distpolicy.agents.target_updates import update_targets
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.random_share_policy import RandomSharePolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.tensor_ops import element_wise_huber_loss

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class DeterministicActorAgent(OffPolicyAgent):
    """Learns an actor that climbs the value of its actions, by critics and targets of both.

    A gradient step is one of the critics, and one of the actor every ``actor_update_period`` steps. Variables that the
    actor shares with the critics, such as an encoder's, are trained by the critics alone. Recurrent networks learn from
    sequences; see :class:`OffPolicyAgent`.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of one bounded spec of floats.
        actor_network: From observations to actions.
        critics: The critics and their targets.
        actor_optimizer: A Keras optimizer, or an Adam.
        critic_optimizer: The same, for all critics.
        with_noise: From the actor's policy to the policy that collects.
        target_actor_network: The actor's target; None for a copy.
        target_update_tau: Share of the networks' weights that an update of the targets takes.
        target_update_period: Gradient steps between two updates of the targets.
        actor_update_period: Gradient steps between two of the actor.
        dqda_clipping: Bound of each element of the gradient of the value by the action; None for no bound.
        td_errors_loss_fn: The loss of targets and values, row by row; None for Huber's.
        gamma: The discount factor.
        reward_scale_factor: Factor of the rewards.
        gradient_clipping: Bound of each gradient's norm; None for no bound.
        train_step_counter: int64 variable that counts gradient steps; None to make one.
        name: Name of the module.
        n_step_update: n, the steps of a transition.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16 when they learn. Policies compute in float32.

    Raises:
        ValueError: If there is not one action of floats.
        NotImplementedError: If a network has a state, and ``n_step_update`` is not 1.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        critics: Critics,
        actor_optimizer: Any,
        critic_optimizer: Any,
        with_noise: Callable[[TFPolicy], TFPolicy],
        *,
        target_actor_network: Network | None,
        target_update_tau: float,
        target_update_period: int,
        actor_update_period: int,
        dqda_clipping: float | None,
        td_errors_loss_fn: Loss | None,
        gamma: float,
        reward_scale_factor: float,
        gradient_clipping: float | None,
        train_step_counter: tf.Variable | None,
        name: str | None,
        n_step_update: int,
        jit_compile: bool,
        mixed_precision: bool,
    ) -> None:
        self._exploring = make_exploring(time_step_spec, action_spec, actor_network, with_noise)
        super().__init__(
            time_step_spec,
            action_spec,
            policy=ActorPolicy(time_step_spec, action_spec, actor_network),
            collect_policy=self._exploring,
            gamma=gamma,
            n_step_update=n_step_update,
            train_step_counter=train_step_counter,
            jit_compile=jit_compile,
            name=name,
            is_recurrent=critics.is_recurrent or bool(tf.nest.flatten(actor_network.state_spec)),
        )
        self._critics, self._actor_network = critics, actor_network
        self._target_actor_network = (
            actor_network.copy(name="TargetActorNetwork") if target_actor_network is None else target_actor_network
        )
        self._target_actor_network.create_variables(self.time_step_spec.observation)
        known = {id(variable) for variable in critics.trained}
        trained = [variable for variable in actor_network.trainable_variables if id(variable) not in known]
        # Hidden from tf.Module's tracking: the networks hold these variables already.
        object.__setattr__(self, "_self_actor_variables", trained)
        networks = [actor_network, self._target_actor_network, *critics.networks]
        layers = layers_in_bfloat16(networks, mixed_precision)
        object.__setattr__(self, "_self_layers_in_bfloat16", layers)
        self._actor_optimizer, self._critic_optimizer = actor_optimizer, critic_optimizer
        self._target_update_tau, self._target_update_period = target_update_tau, target_update_period
        self._actor_update_period, self._dqda_clipping = actor_update_period, dqda_clipping
        self._td_errors_loss_fn = element_wise_huber_loss if td_errors_loss_fn is None else td_errors_loss_fn
        self._reward_scale_factor = reward_scale_factor
        self._gradient_clipping = gradient_clipping
        self._reset_targets()

    def _explore(self, progress: float, has_begun: bool) -> None:
        """Lets the collect policy act uniformly until the agent has begun to learn; see :class:`TFAgent`."""
        self._exploring.random_share.assign(0.0 if has_begun else 1.0)

    def _initialize(self) -> None:
        self._reset_targets()
        for optimizer, variables in (
            (self._actor_optimizer, self._self_actor_variables),
            (self._critic_optimizer, self._critics.trained),
        ):
            if isinstance(optimizer, keras.optimizers.Optimizer) and not optimizer.built:
                optimizer.build(variables)

    def _reset_targets(self) -> None:
        self._critics.reset_targets()
        self._update_target_actor(tf.constant(0, tf.int64), tau=1.0, period=1)

    def _update_target_actor(self, step: tf.Tensor, tau: float, period: int) -> None:
        update_targets(self._actor_network.variables, self._target_actor_network.variables, step, tau, period)

    def _train_on(self, transition: Transition, weights: tf.Tensor, noise: Any = None) -> LossInfo:
        """Takes a gradient step; ``noise`` is for :meth:`_target_actions`."""
        weights = self._valid(transition, weights)
        step = self.train_step_counter.assign_add(1)
        with in_bfloat16(self._self_layers_in_bfloat16):
            critic_loss, values, errors = self._train_critics(transition, weights, noise)
            actor_loss = self._train_actor_if_due(transition.time_step, weights, step)
        self._critics.update_targets(step, self._target_update_tau, self._target_update_period)
        self._update_target_actor(step, self._target_update_tau, self._target_update_period)
        figures = {
            "actor_loss": actor_loss,
            "critic_loss": critic_loss,
            "q_mean": row_mean(tf.reduce_mean(values, axis=-1), tf.cast(weights > 0, tf.float32)),
            "priorities": self._priorities(errors, weights),
        }
        return LossInfo(actor_loss + critic_loss, figures)

    def _loss_on(self, transition: Transition, weights: tf.Tensor, training: bool, noise: Any = None) -> LossInfo:
        """Returns the losses of the critics and of the actor by the same weights; ``noise`` as in :meth:`_train_on`."""
        weights = self._valid(transition, weights)
        critic_loss, _, _ = self._critic_loss(transition, weights, noise, training)
        actor_loss = self._actor_loss(transition.time_step, weights, training)
        return LossInfo(actor_loss + critic_loss, {"actor_loss": actor_loss, "critic_loss": critic_loss})

    def _target_actions(self, after: TimeStep, noise: Any) -> Any:
        """Returns the actions whose values the critics learn, a nest of ``[..., *shape]``."""
        return self._target_actor_network(after.observation, step_type=after.step_type)[0]

    def _train_critics(
        self, transition: Transition, weights: tf.Tensor, noise: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Takes a step of the critics; returns what :meth:`_critic_loss` does."""
        variables = self._critics.trained
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss, values, errors = self._critic_loss(transition, weights, noise, training=True)
        gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self._step(self._critic_optimizer, gradients, variables)
        return loss, values, errors

    def _critic_loss(
        self, transition: Transition, weights: tf.Tensor, noise: Any, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the critics' loss, the values ``[..., N]`` and the absolute errors ``[...]``."""
        now, after = transition.time_step, transition.next_time_step
        next_values = self._critics.target_values(
            (after.observation, self._target_actions(after, noise)), after.step_type
        )
        discounted = self._gamma * after.discount * tf.reduce_min(next_values, axis=-1)
        targets = tf.stop_gradient(self._reward_scale_factor * after.reward + discounted)[..., tf.newaxis]
        values = self._critics.values(
            (now.observation, transition.action_step.action), now.step_type, training=training
        )
        losses = self._td_errors_loss_fn(tf.broadcast_to(targets, tf.shape(values)), values)
        loss = self._mean_loss(tf.reduce_sum(losses, axis=-1), weights) + self._critics.regularization
        return loss, values, tf.reduce_mean(tf.abs(targets - values), axis=-1)

    def _train_actor_if_due(self, now: TimeStep, weights: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Takes a step of the actor in the first of every ``actor_update_period`` steps; returns the loss, or 0."""
        if self._actor_update_period == 1:
            return self._train_actor(now, weights)
        is_due = tf.equal((step - 1) % self._actor_update_period, 0)
        return tf.cond(is_due, lambda: self._train_actor(now, weights), lambda: tf.zeros(()))

    def _train_actor(self, now: TimeStep, weights: tf.Tensor) -> tf.Tensor:
        """Takes a step of the actor; returns the loss."""
        variables = self._self_actor_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = self._actor_loss(now, weights, training=True)
        gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self._step(self._actor_optimizer, gradients, variables)
        return loss

    def _actor_loss(self, now: TimeStep, weights: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns the negative value of the actor's actions.

        Its gradient is the deterministic policy gradient (Silver et al., 2014), and reaches the actor alone.
        """
        actions, _ = self._actor_network(now.observation, step_type=now.step_type, training=training)
        (action,) = tf.nest.flatten(actions)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            fixed = tf.stop_gradient(action)
            tape.watch(fixed)
            actions = tf.nest.pack_sequence_as(self.action_spec, [fixed])
            values = self._critics.first_values((now.observation, actions), now.step_type)
        slope = tape.gradient(values, fixed)
        if self._dqda_clipping is not None:
            slope = tf.clip_by_value(slope, -self._dqda_clipping, self._dqda_clipping)
        # Adds nothing but the gradient.
        change = tf.stop_gradient(slope) * (action - fixed)
        size_axes = list(range(weights.shape.rank, change.shape.rank))
        climbing = tf.stop_gradient(values) + tf.cast(tf.reduce_sum(change, axis=size_axes), values.dtype)
        return -self._mean_loss(climbing, weights)

    def _step(self, optimizer: Any, gradients: Sequence[tf.Tensor], variables: list[tf.Variable]) -> None:
        apply_gradients(optimizer, clip_each(gradients, self._gradient_clipping), variables)


def make_exploring(
    time_step_spec: TimeStep, action_spec: Any, actor_network: Network, with_noise: Callable[[TFPolicy], TFPolicy]
) -> RandomSharePolicy:
    """Returns the policy that collectors run: the actor with noise, or uniform actions before learning has begun.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of one bounded spec of floats.
        actor_network: From observations to actions.
        with_noise: From the actor's policy to the one with noise, which clips actions.

    Raises:
        ConfigError: If there is not one action of floats.
    """
    specs = tf.nest.flatten(tensor_spec.from_spec(action_spec))
    if len(specs) != 1 or not tensor_spec.is_continuous(specs[0]):
        held = ", ".join(f"{spec.dtype.name}{list(spec.shape)}" for spec in specs)
        raise ConfigError(f"a deterministic actor has one action of floats, but action_spec holds {held}")
    actor_network.create_variables(tensor_spec.from_spec(time_step_spec.observation))
    acting = ActorPolicy(time_step_spec, action_spec, actor_network, clip=False)
    return RandomSharePolicy(with_noise(acting), name="collect_policy")
