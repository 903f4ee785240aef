"""CqlSacAgent: conservative Q-learning of actions of floats, on soft actor-critic (Kumar et al., 2020)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.agents.adam import apply_gradients
from distpolicy.agents.off_policy_losses import row_mean
from distpolicy.agents.sac.sac_agent import SacAgent
from distpolicy.agents.sac.soft_actor_critic_agent import Loss
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.distributions.utils import action_scale, bounded_elements
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.sampling.action_distributions import log_probability
from distpolicy.utils.spec_scaling import clip_to_spec


class CqlSacAgent(SacAgent):
    """SacAgent that values the data's actions above all others: CQL(H), equation 4 of the paper.

    To the critics' loss it adds ``cql_alpha`` times the mean over rows and critics of
    ``log sum_a exp(Q(s, a)) - Q(s, a_data)``. The sum is estimated from ``num_cql_samples`` actions of the policy and
    as many uniform ones, each divided by the density that it was drawn with (appendix F). As in TF-Agents, it is a sum
    and not a mean over these actions, which is larger by ``log(2 num_cql_samples)``.

    The data's actions are clipped to their bounds, as environments do it.

    Args:
        time_step_spec: See :class:`SacAgent`.
        action_spec: Nest of specs of floats with finite bounds.
        critic_network: See :class:`SacAgent`.
        actor_network: The same.
        actor_optimizer: The same.
        critic_optimizer: The same.
        alpha_optimizer: The same.
        cql_alpha: The weight of what is added; at first, with ``use_lagrange_cql_alpha``.
        num_cql_samples: Number of actions of the policy, and of uniform ones, for each row.
        include_critic_entropy_term: Whether the values to learn include the policy's entropy.
        use_lagrange_cql_alpha: Whether the weight is learned, so that what is added becomes ``cql_tau`` (equation 30).
        cql_alpha_learning_rate: Adam's step size for the weight.
        cql_tau: See ``use_lagrange_cql_alpha``.
        random_seed: Has no effect, since the noise is handed in.
        reward_noise_variance: Must be 0.
        num_bc_steps: Gradient steps at first in which the actor imitates the data instead of following the critics.
        actor_loss_weight: See :class:`SacAgent`.
        critic_loss_weight: The same; what is added has the weight ``cql_alpha`` alone.
        alpha_loss_weight: The same.
        actor_policy_ctor: The same.
        critic_network_2: The same.
        target_critic_network: The same.
        target_critic_network_2: The same.
        target_update_tau: The same.
        target_update_period: The same.
        td_errors_loss_fn: The same.
        gamma: The same.
        reward_scale_factor: The same.
        initial_log_alpha: The same.
        use_log_alpha_in_alpha_loss: The same.
        target_entropy: The same.
        gradient_clipping: The same.
        log_cql_alpha_clipping: Bounds of the logarithm of a weight that is learned; None for no bounds.
        softmax_temperature: Factor of the values in the exponent; the sum's logarithm is divided by it.
        bc_debug_mode: Must be False.
        debug_summaries: Has no effect.
        summarize_grads_and_vars: Has no effect.
        train_step_counter: int64 variable that counts gradient steps; None to make one.
        name: Name of the module.
        n_step_update: n, the steps of a transition.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16 when they learn. Policies compute in float32.

    Raises:
        ValueError: As in the base class, and if an action has no finite bounds, or the weight is learned from 0 on.
        NotImplementedError: If ``reward_noise_variance`` or ``bc_debug_mode`` is set.
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
        cql_alpha: float,
        num_cql_samples: int,
        include_critic_entropy_term: bool,
        use_lagrange_cql_alpha: bool,
        cql_alpha_learning_rate: float = 1e-4,
        cql_tau: float = 10.0,
        random_seed: int | None = None,
        reward_noise_variance: float = 0.0,
        num_bc_steps: int = 0,
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
        log_cql_alpha_clipping: tuple[float, float] | None = None,
        softmax_temperature: float = 1.0,
        bc_debug_mode: bool = False,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        n_step_update: int = 1,
        jit_compile: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        if any(tf.nest.flatten(network.state_spec) for network in (actor_network, critic_network)):
            raise ConfigError(
                "CqlSacAgent learns from transitions, but a network has a state: use networks without one"
            )
        if use_lagrange_cql_alpha and not cql_alpha > 0:
            raise ConfigError(
                f"cql_alpha must be above 0 with use_lagrange_cql_alpha, which learns its logarithm, but is {cql_alpha}"
            )
        if reward_noise_variance or bc_debug_mode:
            raise NotImplementedError("reward_noise_variance and bc_debug_mode are not supported: leave them out")
        super().__init__(
            time_step_spec,
            action_spec,
            critic_network,
            actor_network,
            actor_optimizer,
            critic_optimizer,
            alpha_optimizer,
            actor_loss_weight,
            critic_loss_weight,
            alpha_loss_weight,
            actor_policy_ctor,
            critic_network_2,
            target_critic_network,
            target_critic_network_2,
            target_update_tau,
            target_update_period,
            td_errors_loss_fn,
            gamma,
            reward_scale_factor,
            initial_log_alpha,
            use_log_alpha_in_alpha_loss,
            target_entropy,
            gradient_clipping,
            train_step_counter=train_step_counter,
            name=name,
            n_step_update=n_step_update,
            jit_compile=jit_compile,
            mixed_precision=mixed_precision,
        )
        leaves = tf.nest.flatten(self.action_spec)
        if not all(bounded_elements(leaf).all() for leaf in leaves):
            raise ConfigError("CQL draws uniform actions, but an action has no finite bounds: give bounds")
        self._scales = [action_scale(leaf) for leaf in leaves]
        self._uniform_log_prob = -float(sum(np.sum(np.log(2.0 * scale.numpy())) for _, scale in self._scales))
        self._log_cql_alpha = tf.Variable(
            np.log(cql_alpha) if cql_alpha else -np.inf,
            trainable=use_lagrange_cql_alpha,
            dtype=tf.float32,
            name="log_cql_alpha",
        )
        self._cql_alpha_optimizer: Any = None
        if use_lagrange_cql_alpha:
            self._cql_alpha_optimizer = keras.optimizers.Adam(cql_alpha_learning_rate)
            self._cql_alpha_optimizer.build([self._log_cql_alpha])
        self._cql_tau, self._log_cql_alpha_clipping = cql_tau, log_cql_alpha_clipping
        self._num_cql_samples, self._softmax_temperature = num_cql_samples, softmax_temperature
        self._include_critic_entropy_term, self._num_bc_steps = include_critic_entropy_term, num_bc_steps

    @property
    def noise_spec(self) -> Any:
        """Noise for the actions of :class:`SacAgent`, and then for those of the policy and the uniform ones.

        float32 ``[2 + 2 * num_cql_samples, action_size]`` a row.
        """
        size = sum(self._action_sizes)
        return tensor_spec.TensorSpec((2 + 2 * self._num_cql_samples, size), tf.float32, "noise")

    @property
    def cql_alpha(self) -> tf.Tensor:
        """The weight of what is added to the critics' loss, float32 scalar."""
        log_alpha = tf.convert_to_tensor(self._log_cql_alpha)
        # As in TF-Agents, a weight that is given and not learned has no bounds.
        if self._log_cql_alpha_clipping is not None and self._cql_alpha_optimizer is not None:
            log_alpha = tf.clip_by_value(log_alpha, *self._log_cql_alpha_clipping)
        return tf.exp(log_alpha)

    def _train(
        self, experience: Transition | Trajectory, weights: tf.Tensor, *, noise: tf.Tensor | None = None
    ) -> LossInfo:
        info = super()._train(experience, weights, noise=noise)
        if self._cql_alpha_optimizer is not None:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._log_cql_alpha)
                loss = -self.cql_alpha * (tf.stop_gradient(info.extra["cql_loss"]) - self._cql_tau)
            gradient = tape.gradient(loss, [self._log_cql_alpha])
            apply_gradients(self._cql_alpha_optimizer, gradient, [self._log_cql_alpha])
        return info

    def _transition(self, experience: Transition | Trajectory) -> Transition:
        """Returns the batch as transitions, with actions within their bounds.

        PPO's policies, among others, write actions beyond them. Drawn and uniform actions are within. Without clipping,
        the critics would learn nothing good about any action that the policy can take.
        """
        transition = super()._transition(experience)
        step = transition.action_step
        action = tf.nest.map_structure(clip_to_spec, step.action, self.action_spec)
        return transition.replace(action_step=step._replace(action=action))

    def _next_values(self, after: TimeStep, noise: tf.Tensor) -> tf.Tensor:
        if self._include_critic_entropy_term:
            return super()._next_values(after, noise)
        actions, _ = self._draw(after, noise[..., 0, :], training=False)
        return tf.reduce_min(self._critics.target_values((after.observation, actions), after.step_type), axis=-1)

    def _actor_rows(self, transition: Transition, noise: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        rows, log_probs = super()._actor_rows(transition, noise, training)
        if not self._num_bc_steps:
            return rows, log_probs
        now = transition.time_step
        distribution, _ = self._actor_network(now.observation, step_type=now.step_type, training=training)
        likelihood = log_probability(distribution, transition.action_step.action, self.action_spec)
        imitating = self.alpha * log_probs - tf.cast(likelihood, tf.float32)
        return tf.where(self.train_step_counter < self._num_bc_steps, imitating, rows), log_probs

    def _more_critic_loss(
        self, transition: Transition, values: tf.Tensor, weights: tf.Tensor, noise: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        now, count = transition.time_step, self._num_cql_samples
        drawn, log_probs = self._draw(_repeated(now, count), _rows(noise[:, 2 : 2 + count]), training=False)
        uniform = self._uniform_actions(_rows(noise[:, 2 + count :]))
        exponents = tf.concat(
            [
                self._values_of(now, tf.stop_gradient(drawn)) - self._per_row(tf.stop_gradient(log_probs)),
                self._values_of(now, uniform) - self._uniform_log_prob,
            ],
            axis=1,
        )
        highest = tf.reduce_logsumexp(exponents, axis=1) / self._softmax_temperature
        cql_loss = row_mean(tf.reduce_mean(highest - values, axis=1), weights)
        return self.cql_alpha * cql_loss, {"cql_loss": cql_loss, "cql_alpha": self.cql_alpha}

    def _values_of(self, now: TimeStep, actions: Any) -> tf.Tensor:
        """Returns the scaled values of S actions for each row, float32 ``[B, S, N]``.

        Args:
            now: The rows.
            actions: Nest of ``[B * S, *shape]``.
        """
        repeated = _repeated(now, self._num_cql_samples)
        values = self._critics.values((repeated.observation, actions), repeated.step_type)
        return self._softmax_temperature * tf.reshape(values, [-1, self._num_cql_samples, values.shape[-1]])

    def _per_row(self, log_probs: tf.Tensor) -> tf.Tensor:
        return tf.reshape(log_probs, [-1, self._num_cql_samples, 1])

    def _uniform_actions(self, noise: tf.Tensor) -> Any:
        """Returns uniform actions within the bounds, nest of ``[R, *shape]``, from noise ``[R, action_size]``."""
        # The normal's distribution function makes uniform numbers of normal ones: here in [-1, 1].
        parts = tf.split(tf.math.erf(noise / np.sqrt(2.0)), self._action_sizes, axis=1)
        specs = tf.nest.flatten(self.action_spec)
        leaves = [
            center + half_width * tf.cast(tf.reshape(part, [-1, *spec.shape]), spec.dtype)
            for part, spec, (center, half_width) in zip(parts, specs, self._scales, strict=True)
        ]
        return tf.nest.pack_sequence_as(self.action_spec, leaves)


def _repeated(time_step: TimeStep, count: int) -> TimeStep:
    """Returns each row ``count`` times, one after the other: ``[B * count, ...]``."""
    return tf.nest.map_structure(lambda leaf: tf.repeat(leaf, count, axis=0), time_step)


def _rows(noise: tf.Tensor) -> tf.Tensor:
    """Returns ``[B * S, size]`` from ``[B, S, size]``."""
    return tf.reshape(noise, [-1, noise.shape[-1]])
