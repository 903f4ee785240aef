"""Trains an agent of its own: the policy gradient with a baseline, in thirty lines.

    python examples/own_agent.py [TOTAL_STEPS]

It has all that a run has: collectors, checkpoints, evaluation, export. docs/agents.md has an agent with a critic, and a
test class that says whether an agent is right.
"""

import sys
from typing import Any

import keras
import tensorflow as tf

from distpolicy import ActorDistributionNetwork, ActorPolicy, GreedyPolicy, TFAgent
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.ops.returns import returns_to_go
from launch import TrainConfig, TrainingRun


class PolicyGradientAgent(TFAgent):
    """REINFORCE (Williams, 1992); the baseline is the mean return of the batch.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Spec of one action.
        learning_rate: Adam's step size.
    """

    def __init__(self, time_step_spec: Any, action_spec: Any, learning_rate: float) -> None:
        self._actor = ActorDistributionNetwork(time_step_spec.observation, action_spec, fc_layer_params=(64, 64))
        collect_policy = ActorPolicy(time_step_spec, action_spec, self._actor, clip=False)
        super().__init__(time_step_spec, action_spec, GreedyPolicy(collect_policy), collect_policy)
        self._optimizer = keras.optimizers.Adam(learning_rate)

    def _train(self, experience: Any, weights: tf.Tensor) -> LossInfo:
        def mean(values: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(values * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)

        discount = 0.99 * experience.discount
        returns = returns_to_go(experience.reward * weights, experience.is_last(), discount)
        advantage = returns - mean(returns)
        with tf.GradientTape() as tape:
            distribution, _ = self._actor(experience.observation, step_type=experience.step_type)
            loss = -mean(distribution.log_prob(experience.action) * advantage)
        trained = self._actor.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))
        self.train_step_counter.assign_add(1)
        return LossInfo(loss, {"mean_return_to_go": mean(returns)})  # a column of metrics.csv


def make_agent(time_step_spec: Any, action_spec: Any, seed: int) -> PolicyGradientAgent:
    """Builds the agent."""
    keras.utils.set_random_seed(seed)
    return PolicyGradientAgent(time_step_spec, action_spec, learning_rate=0.003)


total_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
# Rollouts are longer than most episodes, since returns end with them.
config = TrainConfig(
    env="CartPole-v1", collectors=2, envs_per_collector=8, rollout_steps=256, total_steps=total_steps, eval_episodes=20
)
with TrainingRun(config, agent=make_agent) as run:
    for result in run:
        print(
            f"{result.totals.env_steps:,} env steps, return {result.metrics.get('return_mean_100', float('nan')):.1f}"
        )
