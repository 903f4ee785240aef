"""APPOAgent: a clipped surrogate on V-trace advantages."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import tensorflow as tf

from distpolicy.agents.action_terms import action_log_probability
from distpolicy.agents.actor_critic import input_and_mask
from distpolicy.agents.actor_critic_agent import ActorCriticAgent
from distpolicy.agents.appo.config import APPOConfig
from distpolicy.agents.batch_statistics import MinibatchStatistics
from distpolicy.agents.rollout_batch import RolloutBatch
from distpolicy.agents.surrogate_loss import METRICS, surrogate_loss
from distpolicy.agents.target_updates import update_targets
from distpolicy.agents.vtrace_estimates import vtrace_of
from distpolicy.policies.masks import network_input_spec


class APPOAgent(ActorCriticAgent[APPOConfig]):
    """PPO for data that older policies have collected, as in RLlib; see :class:`ActorCriticAgent`.

    A third policy stands between the one that acted and the one that learns: the target network, a copy of the policy
    that follows it every ``target_update_period`` updates. V-trace estimates its advantages, and the surrogate keeps
    the policy near it, however old the data is. Without lag and with a period of 1 it is the policy that acted, and the
    update is PPO's with V-trace.
    """

    step_metrics: ClassVar[tuple[str, ...]] = METRICS
    estimates_each_pass: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        network = self._actor_critic.policy_network
        self._target_network = network.copy()
        self._target_network.create_variables(
            network_input_spec(self.time_step_spec.observation, self._splitter, self._masked_action)
        )
        update_targets(network.variables, self._target_network.variables, self.train_step_counter, tau=1.0, period=1)
        self._target_log_probability = self._between(self._target_log_probability_of)

    def _checkpointed(self) -> dict[str, tf.Module]:
        return {**super()._checkpointed(), "target_network": self._target_network}

    def _further_samples(self, batch: RolloutBatch) -> dict[str, tf.Tensor]:
        config = self._config
        update_targets(
            self._actor_critic.policy_network.variables,
            self._target_network.variables,
            self.train_step_counter,
            config.target_update_tau,
            config.target_update_period,
        )
        return {"target_log_probability": self._target_log_probability(batch)}

    def _target_log_probability_of(self, batch: RolloutBatch) -> tf.Tensor:
        samples = batch.samples()
        observation, mask = input_and_mask(samples["observation"])
        distribution, _ = self._target_network(
            observation, step_type=samples["step_type"], network_state=batch.policy_state, mask=mask
        )
        return action_log_probability(distribution, batch.action)

    def _advantages_and_targets(
        self, batch: RolloutBatch, further: dict[str, tf.Tensor], value: tf.Tensor, log_probability: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        estimates = vtrace_of(self._config, batch, further["target_log_probability"], value)
        return estimates.advantage, estimates.target

    def _minibatch_loss(
        self,
        distribution: Any,
        value: tf.Tensor,
        samples: dict[str, Any],
        statistics: MinibatchStatistics,
        schedules: dict[str, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        # min(mu / target, clip) * pi / mu = pi / max(target, mu / clip)
        bound = samples["log_probability"] - math.log(self._config.clip_behaviour_ratio)
        reference = tf.maximum(samples["target_log_probability"], bound)
        samples = {**samples, "log_probability": reference}
        return surrogate_loss(self._config, distribution, value, samples, statistics, schedules["clip_range"])
