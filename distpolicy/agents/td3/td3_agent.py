"""Td3Agent: twin delayed deep deterministic policy gradients (Fujimoto et al., 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.critics import make_twin_critics, observation_and_action
from distpolicy.agents.deterministic_actor_agent import DeterministicActorAgent, Loss
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.networks.network import Network
from distpolicy.policies.gaussian_policy import GaussianPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition


class Td3Agent(DeterministicActorAgent):
    """Learns an actor by two critics, with noise on the actions whose values the critics learn.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of one bounded spec of floats.
        actor_network: From observations to actions.
        critic_network: From pairs of observations and actions to values ``[B]``; or to those of all critics,
            ``[B, N]``, as :class:`distpolicy.agents.twin_critic_network.TwinCriticNetwork` does.
        actor_optimizer: A Keras optimizer, or a FlatAdam with a learning rate.
        critic_optimizer: The same, for all critics.
        exploration_noise_std: Deviation of the noise that the collect policy adds, in the units of the action.
        critic_network_2: The second critic; None for a copy of the first one.
        target_actor_network: The actor's target; None for a copy.
        target_critic_network: The first critic's target; None for a copy.
        target_critic_network_2: The second critic's target; None for a copy.
        target_update_tau: Share of the networks' weights that an update of the targets takes.
        target_update_period: Gradient steps between two updates of the targets.
        actor_update_period: Gradient steps between two of the actor.
        dqda_clipping: Bound of each element of the gradient of the value by the action; None for no bound.
        td_errors_loss_fn: The loss of targets and values, row by row; None for Huber's.
        gamma: The discount factor.
        reward_scale_factor: Factor of the rewards.
        target_policy_noise: Deviation of the noise on the target's actions, in the units of the action.
        target_policy_noise_clip: Bound of this noise.
        gradient_clipping: Bound of each gradient's norm; None for no bound.
        debug_summaries: Has no effect.
        summarize_grads_and_vars: Has no effect.
        train_step_counter: int64 variable that counts gradient steps; None to make one.
        name: Name of the module.
        final_exploration_noise_std: The deviation at the end of a run, to which it moves linearly; None for no change.
        n_step_update: n, the steps of a transition.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether encoders compute in bfloat16. Policies compute in float32.

    Raises:
        ValueError: If there is not one action of floats, a network has a state, there is a target for a second critic
            that is not there, or a copy of the critic has the same weights.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        critic_network: Network,
        actor_optimizer: Any,
        critic_optimizer: Any,
        exploration_noise_std: Any = 0.1,
        critic_network_2: Network | None = None,
        target_actor_network: Network | None = None,
        target_critic_network: Network | None = None,
        target_critic_network_2: Network | None = None,
        target_update_tau: float = 1.0,
        target_update_period: int = 1,
        actor_update_period: int = 1,
        dqda_clipping: float | None = None,
        td_errors_loss_fn: Loss | None = None,
        gamma: float = 1.0,
        reward_scale_factor: float = 1.0,
        target_policy_noise: Any = 0.2,
        target_policy_noise_clip: Any = 0.5,
        gradient_clipping: float | None = None,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        final_exploration_noise_std: Any = None,
        n_step_update: int = 1,
        jit_compile: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        noise = exploration_noise(exploration_noise_std)
        super().__init__(
            time_step_spec,
            action_spec,
            actor_network,
            make_twin_critics(
                observation_and_action(time_step_spec, action_spec),
                (critic_network, critic_network_2),
                (target_critic_network, target_critic_network_2),
            ),
            actor_optimizer,
            critic_optimizer,
            lambda policy: GaussianPolicy(policy, noise, clip=True),
            target_actor_network=target_actor_network,
            target_update_tau=target_update_tau,
            target_update_period=target_update_period,
            actor_update_period=actor_update_period,
            dqda_clipping=dqda_clipping,
            td_errors_loss_fn=td_errors_loss_fn,
            gamma=gamma,
            reward_scale_factor=reward_scale_factor,
            gradient_clipping=gradient_clipping,
            train_step_counter=train_step_counter,
            name=name,
            n_step_update=n_step_update,
            jit_compile=jit_compile,
            mixed_precision=mixed_precision,
        )
        self._exploration_noise = noise
        last = exploration_noise_std if final_exploration_noise_std is None else final_exploration_noise_std
        # NumPy arrays, hidden from tf.Module's tracking.
        ends = (np.asarray(exploration_noise_std, np.float32), np.asarray(last, np.float32))
        object.__setattr__(self, "_self_noise_ends", ends)
        self._target_policy_noise, self._target_policy_noise_clip = target_policy_noise, target_policy_noise_clip

    @property
    def noise_spec(self) -> Any:
        """Noise for the action after the next observation: float32 ``[*shape]`` a row."""
        (spec,) = tf.nest.flatten(self.action_spec)
        return tensor_spec.TensorSpec(spec.shape, tf.float32, "noise")

    def explore(self, progress: float, has_begun: bool) -> None:
        """Sets the exploration noise, and lets the collect policy act uniformly until the agent has begun to learn."""
        super().explore(progress, has_begun)
        first, last = self._self_noise_ends
        self._exploration_noise.assign(first + np.float32(progress) * (last - first))

    def _train(
        self, experience: Transition | Trajectory, weights: tf.Tensor, *, noise: tf.Tensor | None = None
    ) -> LossInfo:
        if noise is None:
            noise = tf.random.normal([tf.shape(weights)[0], *self.noise_spec.shape])
        return self._train_on(experience, weights, noise)

    def _target_actions(self, after: TimeStep, noise: tf.Tensor) -> Any:
        """Returns the target's actions with clipped noise (section 5.3 of the paper)."""
        (action,) = tf.nest.flatten(super()._target_actions(after, noise))
        (spec,) = tf.nest.flatten(self.action_spec)
        bound = tf.cast(self._target_policy_noise_clip, action.dtype)
        added = tf.clip_by_value(tf.cast(noise, action.dtype) * self._target_policy_noise, -bound, bound)
        smoothed = tf.clip_by_value(action + added, spec.minimum, spec.maximum)
        return tf.nest.pack_sequence_as(self.action_spec, [smoothed])


def exploration_noise(deviation: Any) -> tf.Variable:
    """Returns the variable of the collect policy that holds the noise's deviation."""
    return tf.Variable(np.asarray(deviation, np.float32), trainable=False, name="exploration_noise")
