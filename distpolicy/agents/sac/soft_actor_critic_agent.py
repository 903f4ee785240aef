"""SoftActorCriticAgent: what soft actor-critic does for actions of floats and for discrete ones."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from distpolicy.agents.adam import apply_gradients
from distpolicy.agents.critics import Critics
from distpolicy.agents.mixed_precision import in_bfloat16, layers_in_bfloat16
from distpolicy.agents.off_policy_agent import OffPolicyAgent
from distpolicy.agents.off_policy_losses import clip_each, row_mean
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.networks.network import Network
from distpolicy.policies.correlated_draw_policy import CorrelatedDrawPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.random_share_policy import RandomSharePolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.transitions import Transition

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class SoftSettings(NamedTuple):
    """The settings of a gradient step; see :class:`distpolicy.agents.sac.sac_agent.SacAgent`.

    Attributes:
        actor_loss_weight: Factor of the actor's loss.
        critic_loss_weight: Factor of the critics' losses.
        alpha_loss_weight: Factor of the temperature's loss.
        target_update_tau: Share of the critics' weights that an update of the targets takes.
        target_update_period: Gradient steps between two updates of the targets.
        td_errors_loss_fn: The loss of targets and values, row by row.
        gamma: The discount factor.
        reward_scale_factor: Factor of the rewards.
        use_log_alpha_in_alpha_loss: Whether the temperature's loss is linear in log(alpha), or in alpha.
        gradient_clipping: Bound of each gradient's norm; None for no bound.
    """

    actor_loss_weight: float
    critic_loss_weight: float
    alpha_loss_weight: float
    target_update_tau: float
    target_update_period: int
    td_errors_loss_fn: Loss
    gamma: float
    reward_scale_factor: float
    use_log_alpha_in_alpha_loss: bool
    gradient_clipping: float | None


class Optimizers(NamedTuple):
    """Keras optimizers, or Adams.

    Attributes:
        actor: Of the actor's own variables.
        critics: Of all critics' variables.
        alpha: Of the logarithm of the temperature; None for a fixed temperature.
    """

    actor: Any
    critics: Any
    alpha: Any


class SoftActorCriticAgent(OffPolicyAgent, abc.ABC):
    """Learns a stochastic policy that is rewarded for its entropy, by critics and their targets.

    A gradient step is one of the critics, then one of the actor, then one of the temperature alpha. Variables that the
    actor shares with the critics, such as an encoder's, are trained by the critics alone. Recurrent networks learn from
    sequences; see :class:`OffPolicyAgent`.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of specs of one action.
        acting: The policy that acts by ``actor_network``.
        actor_network: From observations to distributions.
        critics: The critics.
        optimizers: The optimizers.
        initial_log_alpha: Logarithm of the temperature at first.
        settings: The settings of a gradient step.
        n_step_update: n, the steps of a transition.
        train_step_counter: int64 variable that counts gradient steps; None to make one.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16 when they learn. Policies compute in float32.
        name: Name of the module.
        exploration_correlation: Correlation of the exploration noise of two successive steps, in [0, 1). Above 0, the
            collect policy explores by this noise from the start, and does not act uniformly before.

    Raises:
        NotImplementedError: If a network has a state, and ``n_step_update`` is not 1.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        acting: TFPolicy,
        actor_network: Network,
        critics: Critics,
        optimizers: Optimizers,
        initial_log_alpha: float,
        settings: SoftSettings,
        n_step_update: int,
        train_step_counter: tf.Variable | None,
        jit_compile: bool,
        mixed_precision: bool,
        name: str | None,
        exploration_correlation: float = 0.0,
    ) -> None:
        self._explores_by_noise = exploration_correlation > 0.0
        drawing = CorrelatedDrawPolicy(acting, exploration_correlation) if self._explores_by_noise else acting
        self._exploring = RandomSharePolicy(drawing, name="collect_policy")
        super().__init__(
            time_step_spec,
            action_spec,
            policy=GreedyPolicy(acting),
            collect_policy=self._exploring,
            gamma=settings.gamma,
            n_step_update=n_step_update,
            train_step_counter=train_step_counter,
            jit_compile=jit_compile,
            name=name,
            is_recurrent=critics.is_recurrent or bool(tf.nest.flatten(actor_network.state_spec)),
        )
        self._critics, self._actor_network = critics, actor_network
        known = {id(variable) for variable in critics.trained}
        trained = [variable for variable in actor_network.trainable_variables if id(variable) not in known]
        # Hidden from tf.Module's tracking: the networks hold these variables already.
        object.__setattr__(self, "_self_actor_variables", trained)
        object.__setattr__(self, "_self_settings", settings)
        layers = layers_in_bfloat16([actor_network, *critics.networks], mixed_precision)
        object.__setattr__(self, "_self_layers_in_bfloat16", layers)
        self._actor_optimizer, self._critic_optimizer, self._alpha_optimizer = optimizers
        self._log_alpha = tf.Variable(
            initial_log_alpha, trainable=optimizers.alpha is not None, dtype=tf.float32, name="initial_log_alpha"
        )

    @property
    def alpha(self) -> tf.Tensor:
        """The temperature, float32 scalar."""
        return tf.exp(self._log_alpha)

    def _explore(self, progress: float, has_begun: bool) -> None:
        """Lets the collect policy act uniformly until the agent has begun to learn; see :class:`TFAgent`."""
        self._exploring.random_share.assign(0.0 if has_begun or self._explores_by_noise else 1.0)

    @abc.abstractmethod
    def _next_values(self, after: TimeStep, noise: Any) -> tf.Tensor:
        """Returns the soft values of observations by the targets, float32 ``[B]`` or ``[B, T - 1]``."""

    @abc.abstractmethod
    def _taken_values(self, transition: Transition, training: bool) -> tf.Tensor:
        """Returns the critics' values of the actions that were taken, float32 ``[..., N]``."""

    @abc.abstractmethod
    def _actor_rows(self, transition: Transition, noise: Any, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the actor's loss and its negative entropy, or an estimate of it, float32 ``[...]`` each."""

    @abc.abstractmethod
    def _target_entropy_of(self, now: TimeStep) -> Any:
        """Returns the entropy that the temperature is to lead to, float32 ``[...]`` or a number."""

    def _more_critic_loss(
        self, transition: Transition, values: tf.Tensor, weights: tf.Tensor, noise: Any
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns what is added to the critics' weighted loss, and figures on it; nothing by default.

        Args:
            transition: The batch.
            values: The critics' values of the actions that were taken, float32 ``[..., N]``.
            weights: float32 ``[...]``.
            noise: As for the abstract methods.
        """
        return tf.zeros(()), {}

    def _initialize(self) -> None:
        self._critics.reset_targets()
        for optimizer, variables in (
            (self._actor_optimizer, self._self_actor_variables),
            (self._critic_optimizer, self._critics.trained),
            (self._alpha_optimizer, [self._log_alpha]),
        ):
            if isinstance(optimizer, keras.optimizers.Optimizer) and not optimizer.built:
                optimizer.build(variables)

    def _train_on(self, transition: Transition, weights: tf.Tensor, noise: Any = None) -> LossInfo:
        """Takes a gradient step; ``noise`` is for the abstract methods."""
        settings = self._self_settings
        weights = self._valid(transition, weights)
        with in_bfloat16(self._self_layers_in_bfloat16):
            critic_loss, values, errors, more = self._train_critics(transition, weights, noise)
            actor_loss, log_probs = self._train_actor(transition, weights, noise)
        alpha_loss = self._train_alpha(transition.time_step, log_probs, weights)
        step = self.train_step_counter.assign_add(1)
        self._critics.update_targets(step, settings.target_update_tau, settings.target_update_period)
        counts = tf.cast(weights > 0, tf.float32)
        figures = {
            "actor_loss": actor_loss,
            "critic_loss": critic_loss,
            "alpha_loss": alpha_loss,
            "alpha": self.alpha,
            "entropy": -row_mean(log_probs, counts),
            "q_mean": row_mean(tf.reduce_mean(values, axis=-1), counts),
            "priorities": self._priorities(errors, weights),
            **more,
        }
        return LossInfo(actor_loss + critic_loss + alpha_loss, figures)

    def _loss_on(self, transition: Transition, weights: tf.Tensor, training: bool, noise: Any = None) -> LossInfo:
        """Returns the losses of critics, actor and temperature by the same weights; ``noise`` as in `_train_on`."""
        weights = self._valid(transition, weights)
        critic_loss, _, _, more = self._critic_loss(transition, weights, noise, training)
        actor_loss, log_probs = self._actor_loss(transition, weights, noise, training)
        alpha_loss = self._alpha_loss(transition.time_step, log_probs, weights)
        figures = {"actor_loss": actor_loss, "critic_loss": critic_loss, "alpha_loss": alpha_loss, **more}
        return LossInfo(actor_loss + critic_loss + alpha_loss, figures)

    def _train_critics(
        self, transition: Transition, weights: tf.Tensor, noise: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """Takes a step of the critics; returns what :meth:`_critic_loss` does."""
        variables = self._critics.trained
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            found = self._critic_loss(transition, weights, noise, training=True)
        self._step(tape, found[0], self._critic_optimizer, variables)
        return found

    def _critic_loss(
        self, transition: Transition, weights: tf.Tensor, noise: Any, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the critics' loss, the values ``[..., N]``, the absolute errors ``[...]``, and further figures."""
        settings, after = self._self_settings, transition.next_time_step
        following = self._gamma * after.discount * self._next_values(after, noise)
        targets = tf.stop_gradient(settings.reward_scale_factor * after.reward + following)[..., tf.newaxis]
        values = self._taken_values(transition, training)
        losses = settings.td_errors_loss_fn(tf.broadcast_to(targets, tf.shape(values)), values)
        loss = self._mean_loss(tf.reduce_sum(losses, axis=-1), weights) + self._critics.regularization
        more, figures = self._more_critic_loss(transition, values, weights, noise)
        errors = tf.reduce_mean(tf.abs(targets - values), axis=-1)
        return settings.critic_loss_weight * loss + more, values, errors, figures

    def _train_actor(self, transition: Transition, weights: tf.Tensor, noise: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes a step of the actor; returns what :meth:`_actor_loss` does."""
        variables = self._self_actor_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss, log_probs = self._actor_loss(transition, weights, noise, training=True)
        self._step(tape, loss, self._actor_optimizer, variables)
        return loss, log_probs

    def _actor_loss(
        self, transition: Transition, weights: tf.Tensor, noise: Any, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the actor's loss, and the negative entropies ``[...]``."""
        rows, log_probs = self._actor_rows(transition, noise, training)
        return self._self_settings.actor_loss_weight * self._mean_loss(rows, weights), log_probs

    def _train_alpha(self, now: TimeStep, log_probs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Takes a step of the temperature towards the target entropy; returns the loss."""
        if self._alpha_optimizer is None:
            return tf.zeros(())
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._log_alpha)
            loss = self._alpha_loss(now, log_probs, weights)
        self._step(tape, loss, self._alpha_optimizer, [self._log_alpha])
        return loss

    def _alpha_loss(self, now: TimeStep, log_probs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Returns the temperature's loss."""
        if self._alpha_optimizer is None:
            return tf.zeros(())
        settings = self._self_settings
        factor = self._log_alpha if settings.use_log_alpha_in_alpha_loss else self.alpha
        rows = factor * tf.stop_gradient(-log_probs - self._target_entropy_of(now))
        return settings.alpha_loss_weight * self._mean_loss(rows, weights)

    def _step(self, tape: tf.GradientTape, loss: tf.Tensor, optimizer: Any, variables: Sequence[tf.Variable]) -> None:
        gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        apply_gradients(optimizer, clip_each(gradients, self._self_settings.gradient_clipping), variables)
