"""The driver over light collectors: CPU seconds of a rollout, memory, and where more collectors bring no more."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import ray
from scale_processes import Process, child, free_bytes, usage
from scale_workers import LightCollector, LightLearner

from distpolicy.agents.ppo_config import PPOConfig
from launch.collector_crew import CollectorCrew
from launch.config import TrainConfig
from launch.driver import Driver
from launch.learner_group import LearnerGroup
from launch.run_accounts import Outcome
from launch.run_observer import RunObserver

TIMEOUT_S = 300.0
# Of CartPole's preset: 32 slots x 32 steps.
SLOTS, STEPS = 32, 32
NUM_WARM_UPS = 3
# Actors are started in batches, each of which has to leave so much memory.
BATCH = 16
SPARE_BYTES = 2 * 2**30


class Load(NamedTuple):
    """What moves in an update.

    Attributes:
        name: For tables.
        rollout_bytes: Size of a rollout.
        weights_bytes: Size of the weights.
    """

    name: str
    rollout_bytes: int
    weights_bytes: int


@dataclasses.dataclass(frozen=True)
class DriverCost:
    """What a number of collectors cost.

    Attributes:
        collectors: Their number.
        updates: Updates that were measured.
        update_s: Seconds of an update.
        driver_cpu_s: CPU seconds of an update in the driver's process.
        raylet_cpu_s: Likewise in Ray's daemon of the node.
        gcs_cpu_s: Likewise in Ray's control store.
        memory_bytes: Resident memory of the driver.
    """

    collectors: int
    updates: int
    update_s: float
    driver_cpu_s: float
    raylet_cpu_s: float
    gcs_cpu_s: float
    memory_bytes: int


class _Clock(RunObserver):
    """Notes what the processes have used when the warm-up is over, and when the run is."""

    def __init__(self, pids: Sequence[int], num_updates: int) -> None:
        self._pids, self._last = pids, num_updates
        self.marks: list[tuple[float, list[Process]]] = []

    def updated(self, outcome: Outcome) -> None:
        if outcome.progress.updates in (NUM_WARM_UPS, self._last):
            self.marks.append((time.perf_counter(), [usage(pid) for pid in self._pids]))


def measure(load: Load, counts: Sequence[int], num_rollouts: int) -> Iterator[DriverCost]:
    """Runs the driver with more and more collectors on one node, until there are enough or memory is short.

    Args:
        load: What moves.
        counts: Numbers of collectors, rising.
        num_rollouts: Rollouts to measure with each, at least ten updates of them.
    """
    pids = [os.getpid(), child("raylet"), child("gcs_server")]
    learner = ray.remote(LightLearner).options(num_cpus=0).remote(load.weights_bytes)
    pool: list[Any] = []
    try:
        for count in counts:
            if not _grow(pool, count, load):
                print(f"memory is short: no more than {len(pool)} collectors", flush=True)
                return
            yield _run(pool[:count], learner, pids, max(10, num_rollouts // count))
    finally:
        for actor in [learner, *pool]:
            ray.kill(actor)


def _grow(pool: list[Any], count: int, load: Load) -> bool:
    """Starts collectors until there are so many; False if memory is short."""
    while len(pool) < count:
        if free_bytes() < SPARE_BYTES:
            return False
        first, last = len(pool), min(count, len(pool) + BATCH)
        options = ray.remote(LightCollector).options(num_cpus=0)
        pool += [options.remote(index, load.rollout_bytes, SLOTS * STEPS) for index in range(first, last)]
        ray.get([actor.ping.remote() for actor in pool[first:]], timeout=TIMEOUT_S)
    return True


def _run(actors: Sequence[Any], learner: Any, pids: Sequence[int], num_updates: int) -> DriverCost:
    last = NUM_WARM_UPS + num_updates
    config = TrainConfig(
        collectors=len(actors),
        slots=SLOTS,
        rollout_steps=STEPS,
        total_steps=last * len(actors) * SLOTS * STEPS,
        target_return=None,
        checkpoint_every=last,
        ppo=PPOConfig(num_minibatches=1),
        timeout_s=TIMEOUT_S,
    )
    epochs = itertools.count()
    crew = CollectorCrew(
        lambda index, epoch: actors[index],
        len(actors),
        len(actors),
        lambda index: f"collector {index}",
        lambda: next(epochs),
        TIMEOUT_S,
    )
    clock = _Clock(pids, last)
    # Not closed: that would end the actors, and the next run goes on with them.
    driver = Driver(config, crew, LearnerGroup(lambda epoch: [learner]), lambda: next(epochs), clock)
    driver.start()
    driver.run()
    (begin, before), (end, after) = clock.marks
    cpu_s = [(then.cpu_s - now.cpu_s) / num_updates for then, now in zip(after, before, strict=True)]
    return DriverCost(len(actors), num_updates, (end - begin) / num_updates, *cpu_s, after[0].memory_bytes)
