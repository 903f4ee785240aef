"""ReinforceAgent: the policy gradient of whole episodes (Williams, 1992)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.agents.flat_adam import FlatAdam, flat
from distpolicy.agents.reinforce.config import ReinforceConfig
from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.networks.network import Network
from distpolicy.ops.returns import returns_to_go
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.sampling.action_distributions import entropy, log_probability


class ReinforceAgent(TFAgent):
    """Makes actions likelier by the return that followed them, less the batch's mean.

    A step counts if its episode ends within the rollout, and not by a fault, since its return is not known otherwise:
    rollouts should be longer than episodes.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        actor_network: From observations to distributions; may have a state.
        config: The settings.
        jit_compile: Whether XLA compiles the update.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_network: Network,
        config: ReinforceConfig,
        jit_compile: bool = True,
    ) -> None:
        collect_policy = ActorPolicy(time_step_spec, action_spec, actor_network, clip=False, name="collect_policy")
        super().__init__(
            time_step_spec,
            action_spec,
            policy=GreedyPolicy(collect_policy),
            collect_policy=collect_policy,
            jit_compile=jit_compile,
            name="reinforce_agent",
        )
        self._config, self._actor_network = config, actor_network
        actor_network.create_variables(self.time_step_spec.observation)
        self._trained = list(collect_policy.trainable_variables)
        self._optimizer = FlatAdam(self._trained, epsilon=1e-7, max_gradient_norm=config.max_gradient_norm)

    def _train(  # type: ignore[override]  # What it asks for beside is given by keyword.
        self, experience: Trajectory, weights: tf.Tensor, *, policy_state: Any
    ) -> LossInfo:
        config = self._config
        ends = tf.equal(experience.next_step_type, StepType.LAST)
        # 1 where the next end is in the rollout, and is the episode's own and not a fault's.
        whole = weights * returns_to_go(weights * tf.cast(ends, tf.float32), ends, 1.0)
        count = tf.maximum(tf.reduce_sum(whole), 1.0)

        def mean(values: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(values * whole) / count

        returns = returns_to_go(experience.reward * weights, ends, config.discount)
        centred = returns - mean(returns)
        advantage = centred * tf.math.rsqrt(mean(tf.square(centred)) + 1e-8)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._trained)
            distribution, _ = self._actor_network(
                experience.observation, step_type=experience.step_type, network_state=policy_state
            )
            likelihood = log_probability(distribution, experience.action, self.action_spec)
            policy_entropy = mean(entropy(distribution, self.action_spec, outer_rank=2))
            loss = -mean(likelihood * advantage) - config.entropy_weight * policy_entropy
        gradients = tape.gradient(loss, self._trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self._optimizer.apply(flat(gradients), self._trained, tf.constant(config.learning_rate))
        self.train_step_counter.assign_add(1)
        share = tf.reduce_sum(whole) / tf.maximum(tf.reduce_sum(weights), 1.0)
        return LossInfo(loss, {"entropy": policy_entropy, "whole_steps": share})
