"""SurrogateAgent: proximal policy optimisation (Schulman et al., 2017), by the settings of a PPOConfig."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf

from distpolicy.agents.actor_critic_agent import ActorCriticAgent
from distpolicy.agents.batch_statistics import MinibatchStatistics
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.rollout_batch import RolloutBatch
from distpolicy.agents.surrogate_loss import METRICS, surrogate_loss
from distpolicy.ops.gae import generalized_advantage_estimation


class SurrogateAgent(ActorCriticAgent[PPOConfig]):
    """Clipped-surrogate PPO; see :class:`ActorCriticAgent`.

    Advantages are estimated once a batch, by the values of the critic before the first step.
    """

    step_metrics: ClassVar[tuple[str, ...]] = METRICS

    def _advantages_and_targets(
        self, batch: RolloutBatch, further: dict[str, tf.Tensor], value: tf.Tensor, log_probability: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        advantage = generalized_advantage_estimation(
            batch.reward, batch.discount, value, batch.is_boundary, self._config.gae_lambda
        )
        return advantage, advantage + value[:, :-1]

    def _minibatch_loss(
        self,
        distribution: Any,
        value: tf.Tensor,
        samples: dict[str, Any],
        statistics: MinibatchStatistics,
        schedules: dict[str, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return surrogate_loss(self._config, distribution, value, samples, statistics, schedules["clip_range"])
