"""Small runs of a driver on a real Ray, for several test modules."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import ray

from distpolicy.agents.ppo_config import PPOConfig
from launch.checkpoint import Progress
from launch.config import NetworkConfig, TrainConfig
from launch.driver import Driver
from launch.run_accounts import Outcome
from launch.run_fault import RunFault
from launch.run_observer import RunObserver, Saved
from launch.training_workers import TrainingWorkers
from workers.environment_probe import probe
from workers.rollout_report import RolloutReport

CONFIG = TrainConfig(
    collectors=2,
    slots=4,
    rollout_steps=8,
    total_steps=10_000,
    vectorization="sync",
    jit_compile=False,
    network=NetworkConfig(actor_units=(8,), value_units=(8,)),
    ppo=PPOConfig(num_epochs=2, num_minibatches=2),
)


class Stop(Exception):
    """Ends a run from an observer."""


class Recorder(RunObserver):
    """Keeps what a run tells, and does something of its own after each update.

    Args:
        then: Called after each update; may raise :class:`Stop`.
    """

    def __init__(self, then: Callable[[Recorder], None] = lambda recorder: None) -> None:
        self.then = then
        self.outcomes: list[Outcome] = []
        self.saved: Saved | None = None
        self.losses: list[RunFault] = []
        self.recoveries: list[RunFault] = []
        self.returns_to: list[Progress] = []

    @property
    def reports(self) -> list[RolloutReport]:
        """Of all rollouts that were learned from, those that are void since then as well."""
        return [report for outcome in self.outcomes for report in outcome.reports]

    def updated(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.then(self)

    def checkpoint(self, state: dict[str, np.ndarray], progress: Progress) -> None:
        self.saved = Saved(state, progress)

    def newest_checkpoint(self) -> Saved | None:
        return self.saved

    def lost(self, fault: RunFault) -> None:
        self.losses.append(fault)

    def recovered(self, fault: RunFault) -> None:
        self.recoveries.append(fault)

    def went_back(self, progress: Progress) -> None:
        self.returns_to.append(progress)


def make_driver(
    config: TrainConfig = CONFIG,
    epoch: int = 0,
    state: dict[str, np.ndarray] | None = None,
    progress: Progress | None = None,
    observer: RunObserver | None = None,
) -> Driver:
    """A driver that has started."""
    workers = TrainingWorkers(config, *probe(config.environment_factory), epoch)
    driver = Driver(config, workers.crew, workers.learners, workers.next_epoch, observer, progress)
    try:
        driver.start(state)
    except BaseException:
        driver.close()
        raise
    return driver


def kill(actor: Any) -> None:
    """``kill -9`` of an actor's process."""
    os.kill(process_id(actor), signal.SIGKILL)


def process_id(actor: Any) -> int:
    """The id of an actor's process."""
    return ray.get(actor.__ray_call__.remote(lambda self: os.getpid()), timeout=120)


def numbers_of(reports: Iterable[RolloutReport]) -> dict[tuple[int, int], list[int]]:
    """The numbers of the rollouts of each actor, by seat and epoch, in the order in which they were learned from."""
    found: dict[tuple[int, int], list[int]] = {}
    for report in reports:
        found.setdefault((report.collector, report.epoch), []).append(report.number)
    return found
