"""The workers of a serial run: collectors and learner in this process, without Ray."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from distpolicy.utils.nests.array_nest import map_structure
from distpolicy.weights import Weights
from launch.config.train import TrainConfig
from launch.supervision.local_actor import LocalActor
from workers.actors import set_learner_environment
from workers.collection.collector import Collector, CollectorConfig, PolicyFactory
from workers.collection.rollout_report import RolloutReport
from workers.environments.factory import EnvironmentFactory
from workers.learning.learner import AgentFactory, Learner


class _CopyingCollector(Collector):
    """A collector whose rollouts stay as they are when the next one begins, as Ray's copies do."""

    def rollout(self, weights: Weights | None = None) -> tuple[Rollout, RolloutReport]:
        rollout, report = super().rollout(weights)
        return map_structure(np.array, rollout), report


def start_serial_collector(
    config: CollectorConfig, environment_factory: EnvironmentFactory, policy_factory: PolicyFactory
) -> Any:
    """Makes a collector in this process.

    Its steps are not watched: a debugger may hold it up.
    """
    return LocalActor(_CopyingCollector(config, environment_factory, policy_factory))


def start_serial_learner(agent_factory: AgentFactory, generation: int, config: TrainConfig) -> list[Any]:
    """Makes the learner in this process."""
    set_learner_environment()
    learner = Learner(
        agent_factory, generation, config.max_policy_lag, config.agent.experience(config.shape), config.seed
    )
    return [LocalActor(learner)]
