"""DdpgAgent: deep deterministic policy gradients (Lillicrap et al., 2016)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.agents.critics import Critics, observation_and_action
from distpolicy.agents.deterministic_actor_agent import DeterministicActorAgent, Loss
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.networks.network import Network
from distpolicy.policies.ou_noise_policy import OUNoisePolicy
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition


class DdpgAgent(DeterministicActorAgent):
    """Learns an actor by one critic, and explores by Ornstein-Uhlenbeck noise.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of one bounded spec of floats.
        actor_network: From observations to actions.
        critic_network: From pairs of observations and actions to values.
        actor_optimizer: A Keras optimizer, or an Adam.
        critic_optimizer: The same.
        ou_stddev: Deviation of the normal numbers that the noise is made of, in the units of the action.
        ou_damping: Share of the noise that each step removes; 1 for independent noise.
        target_actor_network: The actor's target; None for a copy.
        target_critic_network: The critic's target; None for a copy.
        target_update_tau: Share of the networks' weights that an update of the targets takes.
        target_update_period: Gradient steps between two updates of the targets.
        dqda_clipping: Bound of each element of the gradient of the value by the action; None for no bound.
        td_errors_loss_fn: The loss of targets and values, row by row; None for Huber's.
        gamma: The discount factor.
        reward_scale_factor: Factor of the rewards.
        gradient_clipping: Bound of each gradient's norm; None for no bound.
        debug_summaries: Has no effect.
        summarize_grads_and_vars: Has no effect.
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
        critic_network: Network,
        actor_optimizer: Any = None,
        critic_optimizer: Any = None,
        ou_stddev: Any = 1.0,
        ou_damping: Any = 1.0,
        target_actor_network: Network | None = None,
        target_critic_network: Network | None = None,
        target_update_tau: float = 1.0,
        target_update_period: int = 1,
        dqda_clipping: float | None = None,
        td_errors_loss_fn: Loss | None = None,
        gamma: float = 1.0,
        reward_scale_factor: float = 1.0,
        gradient_clipping: float | None = None,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
        *,
        n_step_update: int = 1,
        jit_compile: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        super().__init__(
            time_step_spec,
            action_spec,
            actor_network,
            Critics(
                observation_and_action(time_step_spec, action_spec),
                [critic_network],
                [target_critic_network],
                may_have_state=True,
            ),
            actor_optimizer,
            critic_optimizer,
            lambda policy: OUNoisePolicy(policy, ou_stddev, ou_damping, clip=True),
            target_actor_network=target_actor_network,
            target_update_tau=target_update_tau,
            target_update_period=target_update_period,
            actor_update_period=1,
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

    def _train(self, experience: Transition | Trajectory, weights: tf.Tensor) -> LossInfo:
        return self._train_on(self._transition(experience), weights)

    def _loss(self, experience: Transition | Trajectory, weights: tf.Tensor, training: bool = False) -> LossInfo:
        return self._loss_on(self._transition(experience), weights, training)
