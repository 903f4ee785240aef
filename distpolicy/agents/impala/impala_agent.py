"""ImpalaAgent: an actor-critic that corrects for the policy's lag (Espeholt et al., 2018)."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf

from distpolicy.agents.actor_critic_agent import ActorCriticAgent
from distpolicy.agents.batch_statistics import MinibatchStatistics
from distpolicy.agents.impala.config import ImpalaConfig
from distpolicy.agents.impala.loss import METRICS, policy_gradient_loss
from distpolicy.agents.rollout_batch import RolloutBatch
from distpolicy.agents.vtrace_estimates import vtrace_of


class ImpalaAgent(ActorCriticAgent[ImpalaConfig]):
    """The policy gradient and the critic's targets by V-trace; see :class:`ActorCriticAgent`.

    V-trace is computed anew before each pass, over whole rollouts and by the weights of then. With one pass and one
    minibatch, and advantages as they are, an update is the paper's.
    """

    step_metrics: ClassVar[tuple[str, ...]] = METRICS
    estimates_each_pass: ClassVar[bool] = True
    reads_log_probability: ClassVar[bool] = True

    def _advantages_and_targets(
        self, batch: RolloutBatch, further: dict[str, tf.Tensor], value: tf.Tensor, log_probability: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        estimates = vtrace_of(self._config, batch, log_probability, value)
        return estimates.temporal_difference, estimates.target

    def _minibatch_loss(
        self,
        distribution: Any,
        value: tf.Tensor,
        samples: dict[str, Any],
        statistics: MinibatchStatistics,
        schedules: dict[str, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return policy_gradient_loss(self._config, distribution, value, samples, statistics)
