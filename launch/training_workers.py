"""The workers of a training run: its crew of collectors and its learner."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
import weakref
from pathlib import Path
from typing import Any

import ray

from distpolicy.trajectories.time_step import TimeStep
from launch.collector_crew import CollectorCrew, Loss, Member
from launch.config import TrainConfig
from launch.factories import AgentFactory, PolicyFactory
from launch.fault_files import collector_name
from launch.hang_text import what_hung, where_it_hung
from launch.learner_group import LearnerGroup
from launch.placement import COLLECTOR, LEARNER, training_actors
from workers.actors import start_collector, start_learners
from workers.collector import CollectorConfig
from workers.hang_watch import read_hang


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
        self._config, self._newest_epoch = config, epoch - 1
        self._name = f"distpolicy-{uuid.uuid4().hex}"
        # Collectors are killed, and leave their files; by then, at the end of this process at the latest, all are.
        weakref.finalize(self, _remove_files, self._name)
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
                Path(self._stacks_file(index, epoch)),
            ),
            config.collectors,
            config.least_collectors,
            lambda index: f"collector {index} (env slots {index * config.slots} to {(index + 1) * config.slots - 1})",
            self.next_epoch,
            config.timeout_s,
            explain=self._explain,
        )

    @property
    def newest_epoch(self) -> int:
        """The highest epoch that a worker has had."""
        return self._newest_epoch

    def next_epoch(self) -> int:
        """An epoch that no worker of the run has had."""
        self._newest_epoch += 1
        return self._newest_epoch

    def _stacks_file(self, index: int, epoch: int) -> str:
        """Where a collector leaves the stacks of its threads if it hangs, in its machine's folder of such files."""
        return f"{self._name}-{collector_name(index, epoch)}.stacks"

    def _explain(self, member: Member, reason: str) -> Loss:
        # Of one on another machine Ray's reason is all there is.
        hang = read_hang(Path(tempfile.gettempdir()) / self._stacks_file(member.index, member.epoch))
        if hang is None:
            return Loss(reason)
        return Loss(f"{where_it_hung(hang)}: {what_hung(self._config.env, self._config.step_timeout_s)}", hang.stacks)


def _remove_files(name: str) -> None:
    """Removes what a run's collectors have left on this machine."""
    for path in Path(tempfile.gettempdir()).glob(f"{name}-*"):
        with contextlib.suppress(OSError):
            path.unlink()


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
