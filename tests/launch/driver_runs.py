"""Small runs of a driver on a real Ray, for several test modules."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.networks.network_config import NetworkConfig
from launch.config.train import TrainConfig
from launch.supervision.faults import RunFault
from launch.training.checkpoint_store import Checkpoint
from launch.training.observer import TrainingObserver
from launch.training.totals import TrainingTotals, UpdateResult
from launch.training.trainer import Trainer
from launch.training.workers import TrainingWorkers
from workers.collection.rollout_report import RolloutReport
from workers.environments.probe import probe

CONFIG = TrainConfig(
    collectors=2,
    envs_per_collector=4,
    rollout_steps=8,
    total_steps=10_000,
    vectorization="sync",
    jit_compile=False,
    network=NetworkConfig(actor_units=(8,)),
    agent=PPOConfig(value_units=(8,), num_epochs=2, num_minibatches=2),
)


class Stop(Exception):
    """Ends a run from an observer."""


class Recorder(TrainingObserver):
    """Keeps what a run tells and its checkpoints, and does something of its own after each update.

    Args:
        then: Called after each update; may raise :class:`Stop`.
    """

    def __init__(self, then: Callable[[Recorder], None] = lambda recorder: None) -> None:
        self.then = then
        self.outcomes: list[UpdateResult] = []
        self.saved: Checkpoint | None = None
        self.losses: list[RunFault] = []
        self.recoveries: list[RunFault] = []
        self.returns_to: list[TrainingTotals] = []
        self.replay_losses: list[int] = []

    @property
    def kept_parts(self) -> tuple[str, ...]:
        """No part of a state is kept apart from it."""
        return ()

    @property
    def reports(self) -> list[RolloutReport]:
        """Of all rollouts that were learned from, those that are void since then as well."""
        return [report for outcome in self.outcomes for report in outcome.reports]

    def on_update(self, result: UpdateResult) -> None:
        self.outcomes.append(result)
        self.then(self)

    def save(self, state: dict[str, np.ndarray], totals: TrainingTotals) -> Path:
        self.saved = Checkpoint(Path("memory"), 0, totals, state)
        return self.saved.path

    def load_latest(self) -> Checkpoint | None:
        return self.saved

    def on_fault(self, fault: RunFault) -> None:
        self.losses.append(fault)

    def on_recovery(self, fault: RunFault) -> None:
        self.recoveries.append(fault)

    def on_rollback(self, totals: TrainingTotals) -> None:
        self.returns_to.append(totals)

    def on_replay_lost(self, num_transitions: int) -> None:
        self.replay_losses.append(num_transitions)


def make_driver(
    config: TrainConfig = CONFIG,
    generation: int = 0,
    state: dict[str, np.ndarray] | None = None,
    totals: TrainingTotals | None = None,
    recorder: Recorder | None = None,
    serial: bool = False,
) -> Trainer:
    """A driver that has started."""
    factory, recorder = config.environment_factory, recorder or Recorder()
    workers = TrainingWorkers(config, factory, probe(factory), generation, serial=serial)
    driver = Trainer(
        config,
        workers.pool,
        workers.learners,
        workers.next_generation,
        recorder,
        recorder,
        totals,
        server=workers.server,
    )
    checkpoint = None if state is None else Checkpoint(Path("memory"), 0, totals or TrainingTotals(), state)
    recorder.saved = checkpoint
    try:
        driver.start(checkpoint)
    except BaseException:
        driver.close()
        raise
    return driver


def trained(
    config: TrainConfig,
    generation: int = 0,
    state: dict[str, np.ndarray] | None = None,
    totals: TrainingTotals | None = None,
    serial: bool = False,
) -> tuple[dict[str, np.ndarray], list[UpdateResult]]:
    """The learner's state after a whole run, and the results of its updates."""
    recorder = Recorder()
    driver = make_driver(config, generation, state, totals, recorder, serial)
    try:
        for _ in driver.updates():
            pass
    finally:
        driver.close()
    assert recorder.saved is not None
    assert recorder.saved.state is not None
    return recorder.saved.state, recorder.outcomes


def run_until_stopped(
    config: TrainConfig,
    then: Callable[[Trainer, Recorder], None],
    last: Callable[[Trainer], Any] = lambda driver: None,
) -> Recorder:
    """Runs until ``then`` raises :class:`Stop`; returns what the run has told.

    Args:
        config: The settings; they should not end the run before.
        then: Called after each update.
        last: Called at the end, before the workers are closed.
    """
    recorder = Recorder(lambda recorder: then(driver, recorder))
    driver = make_driver(config, recorder=recorder)
    try:
        with pytest.raises(Stop):
            list(driver.updates())
        last(driver)
    finally:
        driver.close()
    return recorder


def run_until_done(config: TrainConfig, then: Callable[[Trainer, Recorder], None]) -> Recorder:
    """Runs to the end, so that the last checkpoint holds all that was learned; returns what the run has told.

    Args:
        config: The settings.
        then: Called after each update; may stop the driver.
    """
    recorder = Recorder(lambda recorder: then(driver, recorder))
    driver = make_driver(config, recorder=recorder)
    try:
        for _ in driver.updates():
            pass
    finally:
        driver.close()
    return recorder


def assert_same_state(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    """Asserts that two states have the same bytes."""
    assert left.keys() == right.keys()
    for path in left:
        np.testing.assert_array_equal(left[path], right[path], err_msg=path)


def kill(actor: Any) -> None:
    """``kill -9`` of an actor's process."""
    os.kill(process_id(actor), signal.SIGKILL)


def process_id(actor: Any) -> int:
    """The id of an actor's process."""
    return ray.get(actor.__ray_call__.remote(lambda self: os.getpid()), timeout=120)


def numbers_of(reports: Iterable[RolloutReport]) -> dict[tuple[int, int], list[int]]:
    """The numbers of the rollouts of each actor, by index and generation, in the order of learning."""
    found: dict[tuple[int, int], list[int]] = {}
    for report in reports:
        found.setdefault((report.collector, report.generation), []).append(report.number)
    return found
