"""DiscreteSacAgent: soft actor-critic for a discrete action (Christodoulou, 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.agents.critics import make_twin_critics
from distpolicy.agents.sac.soft_actor_critic_agent import Loss, Optimizers, SoftActorCriticAgent, SoftSettings
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.ops.q_learning import values_of
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.masks import network_input_spec, num_values, split_mask
from distpolicy.policies.q_policy import check_scalar_action
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition

# The share of the highest possible entropy that is the target by default; section 4 of the paper.
TARGET_SHARE = 0.98


class DiscreteSacAgent(SoftActorCriticAgent):
    """Soft actor-critic for one discrete action; see the base class.

    Expectations over actions are sums over all of them, and not draws.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of one bounded scalar spec of integers.
        critic_network: From observations to the values of all actions ``[B, num_actions]``; or to those of all critics,
            ``[B, N, num_actions]``, as :class:`distpolicy.agents.twin_critic_network.TwinCriticNetwork` does.
        actor_network: From observations to categorical distributions.
        actor_optimizer: A Keras optimizer, or an Adam.
        critic_optimizer: The same, for all critics.
        alpha_optimizer: The same; None for a fixed temperature.
        actor_loss_weight: Factor of the actor's loss.
        critic_loss_weight: Factor of the critics' losses.
        alpha_loss_weight: Factor of the temperature's loss.
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
        target_entropy_share: The entropy that the temperature is to lead to, as a share of the entropy of uniform draws
            from the allowed actions.
        gradient_clipping: Bound of each gradient's norm; None for no bound.
        observation_and_action_constraint_splitter: Function from an observation to the networks' input and a mask of
            actions, not 0 where an action is allowed; None for no masks.
        train_step_counter: int64 variable that counts gradient steps; None to make one.
        name: Name of the module.
        n_step_update: n, the steps of a transition.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16 when they learn. Policies compute in float32.

    Raises:
        ValueError: If the action is not one scalar integer, a network has a state, there is a target for a second
            critic that is not there, or a copy of the critic has the same weights.
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
        *,
        actor_loss_weight: float = 1.0,
        critic_loss_weight: float = 0.5,
        alpha_loss_weight: float = 1.0,
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
        target_entropy_share: float = TARGET_SHARE,
        gradient_clipping: float | None = None,
        observation_and_action_constraint_splitter: Any = None,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        n_step_update: int = 1,
        jit_compile: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        action_spec = tensor_spec.from_spec(action_spec)
        check_scalar_action(action_spec, "DiscreteSacAgent")
        (spec,) = tf.nest.flatten(action_spec)
        splitter = observation_and_action_constraint_splitter
        input_spec = network_input_spec(tensor_spec.from_spec(time_step_spec.observation), splitter, spec)
        actor_network.create_variables(input_spec)
        if tf.nest.flatten(actor_network.state_spec):
            raise ConfigError(f"actor_network {actor_network.name} has a state, which replayed transitions do not hold")
        super().__init__(
            time_step_spec,
            action_spec,
            ActorPolicy(
                time_step_spec, action_spec, actor_network, observation_and_action_constraint_splitter=splitter
            ),
            actor_network,
            make_twin_critics(
                input_spec,
                (critic_network, critic_network_2),
                (target_critic_network, target_critic_network_2),
                value_rank=1,
            ),
            Optimizers(actor_optimizer, critic_optimizer, alpha_optimizer),
            initial_log_alpha,
            SoftSettings(
                actor_loss_weight,
                critic_loss_weight,
                alpha_loss_weight,
                target_update_tau,
                target_update_period,
                td_errors_loss_fn,
                gamma,
                reward_scale_factor,
                use_log_alpha_in_alpha_loss,
                gradient_clipping,
            ),
            n_step_update,
            train_step_counter,
            jit_compile,
            mixed_precision,
            name,
        )
        self._spec, self._num_actions = spec, num_values(spec)
        self._lowest_action = int(np.asarray(spec.minimum).item())
        self._splitter = splitter
        self._target_entropy_share = target_entropy_share

    def _train(self, experience: Transition | Trajectory, weights: tf.Tensor) -> LossInfo:
        return self._train_on(self._transition(experience), weights)

    def _loss(self, experience: Transition | Trajectory, weights: tf.Tensor, training: bool = False) -> LossInfo:
        return self._loss_on(self._transition(experience), weights, training)

    def _split(self, time_step: TimeStep) -> tuple[Any, tf.Tensor]:
        """Returns the networks' input, and which actions are allowed, bool ``[B, num_actions]``.

        Where a mask allows no action, as it may after an episode's end, all count as allowed.
        """
        inputs, mask = split_mask(self._splitter, time_step.observation, self._spec)
        if mask is None:
            return inputs, tf.fill([tf.shape(time_step.step_type)[0], self._num_actions], True)
        allowed = tf.cast(mask, tf.bool)
        return inputs, tf.logical_or(allowed, tf.logical_not(tf.reduce_any(allowed, axis=1, keepdims=True)))

    def _log_probs(self, time_step: TimeStep, training: bool) -> tuple[Any, tf.Tensor, tf.Tensor]:
        """Returns the networks' input, the actions' probabilities and their logarithms, float32 ``[B, num_actions]``.

        Both are 0 for actions that are not allowed.
        """
        inputs, allowed = self._split(time_step)
        outputs, _ = self._actor_network(inputs, step_type=time_step.step_type, training=training)
        (distribution,) = tf.nest.flatten(outputs)
        if isinstance(distribution, tfp.distributions.TransformedDistribution):
            distribution = distribution.distribution
        logits = tf.cast(distribution.logits_parameter(), tf.float32)
        log_probs = tf.nn.log_softmax(tf.where(allowed, logits, tf.constant(_FORBIDDEN)))
        zeros = tf.zeros_like(log_probs)
        return inputs, tf.where(allowed, tf.exp(log_probs), zeros), tf.where(allowed, log_probs, zeros)

    def _next_values(self, after: TimeStep, noise: Any) -> tf.Tensor:
        """Returns the soft values by the actions' probabilities (equation 10 of the paper)."""
        inputs, probs, log_probs = self._log_probs(after, training=False)
        values = tf.reduce_min(self._critics.target_values(inputs, after.step_type), axis=1)
        return tf.reduce_sum(probs * (values - self.alpha * log_probs), axis=1)

    def _taken_values(self, transition: Transition, training: bool) -> tf.Tensor:
        now = transition.time_step
        values = self._critics.values(self._split(now)[0], now.step_type, training=training)
        (action,) = tf.nest.flatten(transition.action_step.action)
        index = tf.cast(action, tf.int32) - self._lowest_action
        return values_of(values, tf.broadcast_to(index[:, tf.newaxis], tf.shape(values)[:2]))

    def _actor_rows(self, transition: Transition, noise: Any, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the expected loss (equation 12 of the paper) and the negative entropy."""
        now = transition.time_step
        inputs, probs, log_probs = self._log_probs(now, training)
        values = tf.reduce_min(self._critics.values(inputs, now.step_type), axis=1)
        rows = tf.reduce_sum(probs * (self.alpha * log_probs - values), axis=1)
        return rows, tf.reduce_sum(probs * log_probs, axis=1)

    def _target_entropy_of(self, now: TimeStep) -> tf.Tensor:
        _, allowed = self._split(now)
        return self._target_entropy_share * tf.math.log(tf.reduce_sum(tf.cast(allowed, tf.float32), axis=1))


# A logit that leaves no probability, and whose difference to other logits is finite.
_FORBIDDEN = np.float32(-1e30)
