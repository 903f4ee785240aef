"""Td3Agent: twin delayed deep deterministic policy gradients (Fujimoto et al., 2018)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.critics import make_twin_critics, observation_and_action
from distpolicy.agents.deterministic_actor_agent import DeterministicActorAgent, Loss
from distpolicy.agents.noisy_update import NoisyUpdate
from distpolicy.networks.network import Network
from distpolicy.policies.gaussian_policy import GaussianPolicy
from distpolicy.policies.ou_noise_policy import OUNoisePolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep


class Td3Agent(NoisyUpdate, DeterministicActorAgent):
    """Learns an actor by two critics, with noise on the actions whose values the critics learn.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of one bounded spec of floats.
        actor_network: From observations to actions.
        critic_network: From pairs of observations and actions to values ``[B]``; or to those of all critics,
            ``[B, N]``, as :class:`distpolicy.agents.twin_critic_network.TwinCriticNetwork` does.
        actor_optimizer: A Keras optimizer, or an Adam.
        critic_optimizer: The same, for all critics.
        exploration_noise_std: Deviation of the noise that the collect policy adds, in the units of the action.
        critic_network_2: The second critic; None for a copy of the first one.
        target_actor_network: The actor's target; None for a copy.
        target_critic_network: The first critic's target; None for a copy.
        target_critic_network_2: The second critic's target; None for a copy.
        target_update_tau: Share of the networks' weights that an update of the targets takes.
        target_update_period: Gradient steps between two updates of the targets.
        actor_update_period: Gradient steps between two of the actor.
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
        dqda_clipping: Bound of each element of the gradient of the value by the action; None for no bound.
        final_exploration_noise_std: The deviation at the end of a run, to which it moves linearly; None for no change.
        exploration_correlation: Correlation of the exploration noise of two successive steps, in [0, 1). Above 0, the
            collect policy explores by this noise from the start, and does not act uniformly before.
        n_step_update: n, the steps of a transition.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16 when they learn. Policies compute in float32.

    Raises:
        ValueError: If there is not one action of floats, there is a target for a second critic that is not there, or a
            copy of the critic has the same weights.
        NotImplementedError: If a network has a state, and ``n_step_update`` is not 1.
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
        dqda_clipping: float | None = None,
        final_exploration_noise_std: Any = None,
        exploration_correlation: float = 0.0,
        n_step_update: int = 1,
        jit_compile: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        last = exploration_noise_std if final_exploration_noise_std is None else final_exploration_noise_std
        # What a step adds to correlated noise, so that the noise has the deviation that is asked for.
        added = math.sqrt(1.0 - exploration_correlation**2)
        ends = [np.asarray(deviation, np.float32) * np.float32(added) for deviation in (exploration_noise_std, last)]
        noise = tf.Variable(ends[0], trainable=False, name="exploration_noise")
        super().__init__(
            time_step_spec,
            action_spec,
            actor_network,
            make_twin_critics(
                observation_and_action(time_step_spec, action_spec),
                (critic_network, critic_network_2),
                (target_critic_network, target_critic_network_2),
                may_have_state=True,
            ),
            actor_optimizer,
            critic_optimizer,
            lambda policy: _with_noise(policy, noise, exploration_correlation),
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
        self._exploration_noise, self._explores_by_noise = noise, exploration_correlation > 0.0
        # NumPy arrays, hidden from tf.Module's tracking.
        object.__setattr__(self, "_self_noise_ends", ends)
        self._target_policy_noise, self._target_policy_noise_clip = target_policy_noise, target_policy_noise_clip

    @property
    def noise_spec(self) -> Any:
        """Noise for the action after the next observation: float32 ``[*shape]`` a row."""
        (spec,) = tf.nest.flatten(self.action_spec)
        return tensor_spec.TensorSpec(spec.shape, tf.float32, "noise")

    def _explore(self, progress: float, has_begun: bool) -> None:
        """Sets the exploration noise, and lets the collect policy act uniformly until the agent has begun to learn."""
        super()._explore(progress, has_begun or self._explores_by_noise)
        first, last = self._self_noise_ends
        self._exploration_noise.assign(first + np.float32(progress) * (last - first))

    def _target_actions(self, after: TimeStep, noise: tf.Tensor) -> Any:
        """Returns the target's actions with clipped noise (section 5.3 of the paper)."""
        (action,) = tf.nest.flatten(super()._target_actions(after, noise))
        (spec,) = tf.nest.flatten(self.action_spec)
        bound = tf.cast(self._target_policy_noise_clip, action.dtype)
        added = tf.clip_by_value(tf.cast(noise, action.dtype) * self._target_policy_noise, -bound, bound)
        smoothed = tf.clip_by_value(action + added, spec.minimum, spec.maximum)
        return tf.nest.pack_sequence_as(self.action_spec, [smoothed])


def _with_noise(policy: TFPolicy, deviation: tf.Variable, correlation: float) -> TFPolicy:
    """Returns the policy with noise that is independent, or correlated over time.

    Args:
        policy: The policy.
        deviation: Deviation of what each step adds to the noise.
        correlation: Correlation of the noise of two steps.
    """
    if not correlation:
        return GaussianPolicy(policy, deviation, clip=True)
    return OUNoisePolicy(policy, deviation, 1.0 - correlation, clip=True)
