"""The workers of a training run: its crew of collectors and its learner."""

from __future__ import annotations

from typing import Any

import ray

from distpolicy.trajectories.time_step import TimeStep
from launch.collector_crew import CollectorCrew
from launch.config import TrainConfig
from launch.factories import AgentFactory, PolicyFactory
from launch.learner_group import LearnerGroup
from launch.placement import COLLECTOR, LEARNER, training_actors
from workers.actors import start_collector, start_learners
from workers.collector import CollectorConfig


class TrainingWorkers:
    """What a :class:`launch.driver.Driver` runs on; nothing has started yet.

    Args:
        config: The run's config.
        time_step_spec: Array specs of one time step.
        action_spec: Array specs of one action.
        epoch: How often the run was started before.

    Attributes:
        crew: The collectors.
        learners: The learner.
        learner_has_gpu: Whether the learner asks for a GPU.
    """

    def __init__(self, config: TrainConfig, time_step_spec: TimeStep, action_spec: Any, epoch: int = 0) -> None:
        groups = {group.name: group.resources for group in training_actors(config, ray.cluster_resources())}
        self._newest_epoch = epoch - 1
        agent_factory = AgentFactory(config, time_step_spec, action_spec)
        self.learner_has_gpu = "GPU" in groups[LEARNER]
        self.learners = LearnerGroup(
            lambda epoch: start_learners(agent_factory, epoch, config.learners, groups[LEARNER])
        )
        self.crew = CollectorCrew(
            lambda index, epoch: start_collector(
                _collector_config(config, index, epoch),
                config.environment_factory,
                PolicyFactory(config),
                groups[COLLECTOR],
            ),
            config.collectors,
            config.least_collectors,
            lambda index: f"collector {index} (env slots {index * config.slots} to {(index + 1) * config.slots - 1})",
            self.next_epoch,
            config.timeout_s,
        )

    @property
    def newest_epoch(self) -> int:
        """The highest epoch that a worker has had."""
        return self._newest_epoch

    def next_epoch(self) -> int:
        """An epoch that no worker of the run has had."""
        self._newest_epoch += 1
        return self._newest_epoch


def _collector_config(config: TrainConfig, index: int, epoch: int) -> CollectorConfig:
    return CollectorConfig(
        index=index,
        first_slot=index * config.slots,
        num_slots=config.slots,
        num_steps=config.rollout_steps,
        seed=config.seed,
        epoch=epoch,
        reward_discount=config.ppo.discount,
    )
