"""SacAgent: soft actor-critic (Haarnoja et al., "Soft actor-critic algorithms and applications", 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.critics import make_twin_critics, observation_and_action
from distpolicy.agents.noisy_update import NoisyUpdate
from distpolicy.agents.sac.soft_actor_critic_agent import Loss, Optimizers, SoftActorCriticAgent, SoftSettings
from distpolicy.distributions.reparameterized import draw_with_noise
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.nests.array_nest import paths


class SacAgent(NoisyUpdate, SoftActorCriticAgent):
    """Soft actor-critic for actions of floats; see the base class.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of specs of floats.
        critic_network: From pairs of observations and actions to values ``[B]``; or to those of all critics,
            ``[B, N]``, as :class:`distpolicy.agents.twin_critic_network.TwinCriticNetwork` does.
        actor_network: From observations to distributions.
        actor_optimizer: A Keras optimizer, or an Adam.
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
        exploration_correlation: Correlation of the exploration noise of two successive steps, in [0, 1). Above 0, the
            collect policy explores by this noise from the start, and does not act uniformly before.
        n_step_update: n, the steps of a transition.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16 when they learn. Policies compute in float32.

    Raises:
        NotImplementedError: If an action is not of floats. If a network has a state, and ``n_step_update`` is not 1.
        ValueError: If there is a target for a second critic that is not there, or a copy of the critic has the same
            weights.
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
        exploration_correlation: float = 0.0,
        n_step_update: int = 1,
        jit_compile: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        spec = tensor_spec.from_spec(action_spec)
        _check_actions(spec)
        actor_network.create_variables(tensor_spec.from_spec(time_step_spec.observation))
        super().__init__(
            time_step_spec,
            action_spec,
            actor_policy_ctor(time_step_spec=time_step_spec, action_spec=action_spec, actor_network=actor_network),
            actor_network,
            make_twin_critics(
                observation_and_action(time_step_spec, action_spec),
                (critic_network, critic_network_2),
                (target_critic_network, target_critic_network_2),
                may_have_state=True,
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
            exploration_correlation,
        )
        self._action_sizes = [int(np.prod(leaf.shape)) for leaf in tf.nest.flatten(spec)]
        self._target_entropy = -sum(self._action_sizes) / 2.0 if target_entropy is None else target_entropy

    @property
    def noise_spec(self) -> Any:
        """Noise for the next observation's action and for the observation's: float32 ``[2, action_size]`` a row."""
        return tensor_spec.TensorSpec((2, sum(self._action_sizes)), tf.float32, "noise")

    def _draw(self, time_step: TimeStep, noise: tf.Tensor, training: bool) -> tuple[Any, tf.Tensor]:
        """Draws actions, nest of ``[..., *shape]``, and returns their log-probabilities, float32 ``[...]``."""
        outputs, _ = self._actor_network(time_step.observation, step_type=time_step.step_type, training=training)
        parts = tf.split(noise, self._action_sizes, axis=-1)
        drawn = [draw_with_noise(*pair) for pair in zip(tf.nest.flatten(outputs), parts, strict=True)]
        actions = tf.nest.pack_sequence_as(self.action_spec, [action for action, _ in drawn])
        return actions, tf.add_n([tf.cast(log_prob, tf.float32) for _, log_prob in drawn])

    def _next_values(self, after: TimeStep, noise: tf.Tensor) -> tf.Tensor:
        """Returns the soft values of drawn actions (equation 3 of the paper)."""
        actions, log_probs = self._draw(after, noise[..., 0, :], training=False)
        values = self._critics.target_values((after.observation, actions), after.step_type)
        return tf.reduce_min(values, axis=-1) - self.alpha * log_probs

    def _taken_values(self, transition: Transition, training: bool) -> tf.Tensor:
        now = transition.time_step
        return self._critics.values((now.observation, transition.action_step.action), now.step_type, training=training)

    def _actor_rows(self, transition: Transition, noise: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss of drawn actions (equation 9 of the paper) and their log-probabilities."""
        now = transition.time_step
        actions, log_probs = self._draw(now, noise[..., 1, :], training)
        values = tf.reduce_min(self._critics.values((now.observation, actions), now.step_type), axis=-1)
        return self.alpha * log_probs - values, log_probs

    def _target_entropy_of(self, now: TimeStep) -> float:
        return self._target_entropy


def _check_actions(action_spec: Any) -> None:
    for path, spec in zip(paths(action_spec), tf.nest.flatten(action_spec), strict=True):
        if not tensor_spec.is_continuous(spec):
            raise NotImplementedError(
                f"SacAgent has actions of floats, but action_spec{path} is of {spec.dtype.name}; "
                "DiscreteSacAgent is for a discrete action"
            )
