"""The driver over light collectors: CPU seconds of a rollout, memory, and where more collectors bring no more."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from scale_processes import Process, child, free_bytes, usage
from scale_workers import LightCollector, LightLearner

from distpolicy.agents.ppo.config import PPOConfig
from launch.config.train import RolloutOrder, TrainConfig
from launch.supervision.collector_pool import CollectorPool
from launch.training.checkpoint_store import Checkpoint
from launch.training.learner_group import LearnerGroup
from launch.training.observer import TrainingObserver
from launch.training.totals import TrainingTotals, UpdateResult
from launch.training.trainer import Trainer

TIMEOUT_S = 300.0
# Of CartPole's preset: 32 slots x 32 steps.
SLOTS, STEPS = 32, 32
NUM_WARM_UPS = 3
# Actors are started in batches, each of which has to leave so much memory.
BATCH = 16
SPARE_BYTES = 2 * 2**30
IDLE_S = 5.0


class Load(NamedTuple):
    """What moves in an update.

    Attributes:
        name: For tables.
        rollout_bytes: Size of a rollout.
        weights_bytes: Size of the weights.
        max_policy_lag: Of the run.
        rollout_order: Of the run.
    """

    name: str
    rollout_bytes: int
    weights_bytes: int
    max_policy_lag: int = 0
    rollout_order: RolloutOrder = "fixed"


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
        workers_cpu_s: Likewise in all collectors and the learner.
        idle_cores: Cores that they take while nothing is asked of them: Ray's own threads in each.
        memory_bytes: Resident memory of the driver, which all loads share.
    """

    collectors: int
    updates: int
    update_s: float
    driver_cpu_s: float
    raylet_cpu_s: float
    gcs_cpu_s: float
    workers_cpu_s: float
    idle_cores: float
    memory_bytes: int

    @property
    def rollouts_a_second(self) -> float:
        """Of all collectors."""
        return self.collectors / self.update_s

    @property
    def cores(self) -> float:
        """Cores that are busy with it, of everybody's."""
        return (self.driver_cpu_s + self.raylet_cpu_s + self.gcs_cpu_s + self.workers_cpu_s) / self.update_s


class _Clock(TrainingObserver):
    """Notes what the processes have used when the warm-up is over, and when the run is; keeps no checkpoints."""

    def __init__(self, pids: Sequence[int], num_updates: int) -> None:
        self._pids, self._last = pids, num_updates
        self.marks: list[tuple[float, list[Process]]] = []
        self.kept_parts: tuple[str, ...] = ()

    def on_update(self, result: UpdateResult) -> None:
        if result.totals.updates in (NUM_WARM_UPS, self._last):
            self.marks.append((time.perf_counter(), [usage(pid) for pid in self._pids]))

    def save(self, state: dict[str, np.ndarray], totals: TrainingTotals) -> Path:
        return Path("nowhere")

    def load_latest(self) -> Checkpoint | None:
        return None


def measure(loads: Sequence[Load], counts: Sequence[int], num_rollouts: int) -> Iterator[tuple[Load, DriverCost]]:
    """Runs the driver with more and more collectors on one node, until there are enough or memory is short.

    Args:
        loads: What moves; with each number of collectors they take turns.
        counts: Numbers of collectors, rising.
        num_rollouts: Rollouts to measure with each, at least ten updates of them.
    """
    learner = ray.remote(LightLearner).options(num_cpus=0).remote()
    pool: list[Any] = []
    try:
        for count in counts:
            if not _grow(pool, count):
                print(f"memory is short: no more than {len(pool)} collectors", flush=True)
                return
            workers = ray.get([actor.ping.remote() for actor in [learner, *pool]], timeout=TIMEOUT_S)
            idle_cores = _idle_cores(workers)
            for load in loads:
                prepared = [actor.prepare.remote(load.rollout_bytes) for actor in pool]
                ray.get([learner.prepare.remote(load.weights_bytes), *prepared], timeout=TIMEOUT_S)
                yield load, _run(load, pool, learner, workers, idle_cores, max(10, num_rollouts // count))
    finally:
        for actor in [learner, *pool]:
            ray.kill(actor)


def _grow(pool: list[Any], count: int) -> bool:
    """Starts collectors until there are so many; False if memory is short."""
    while len(pool) < count:
        if free_bytes() < SPARE_BYTES:
            return False
        first, last = len(pool), min(count, len(pool) + BATCH)
        pool += [
            ray.remote(LightCollector).options(num_cpus=0).remote(index, SLOTS * STEPS) for index in range(first, last)
        ]
        ray.get([actor.ping.remote() for actor in pool[first:]], timeout=TIMEOUT_S)
    return True


def _idle_cores(pids: Sequence[int]) -> float:
    before, begin = [usage(pid) for pid in pids], time.perf_counter()
    time.sleep(IDLE_S)
    after, end = [usage(pid) for pid in pids], time.perf_counter()
    return sum(now.cpu_s - then.cpu_s for then, now in zip(before, after, strict=True)) / (end - begin)


def _run(
    load: Load, actors: Sequence[Any], learner: Any, workers: Sequence[int], idle_cores: float, num_updates: int
) -> DriverCost:
    pids = [os.getpid(), child("raylet"), child("gcs_server"), *workers]
    last = NUM_WARM_UPS + num_updates
    config = TrainConfig(
        collectors=len(actors),
        envs_per_collector=SLOTS,
        rollout_steps=STEPS,
        total_steps=last * len(actors) * SLOTS * STEPS,
        target_return=None,
        checkpoint_every=last,
        agent=PPOConfig(num_minibatches=1),
        max_policy_lag=load.max_policy_lag,
        rollout_order=load.rollout_order,
        timeout_s=TIMEOUT_S,
    )
    generations = itertools.count()
    pool = CollectorPool(
        lambda index, generation: actors[index],
        [range(index * SLOTS, (index + 1) * SLOTS) for index in range(len(actors))],
        lambda: next(generations),
        TIMEOUT_S,
    )
    clock = _Clock(pids, last)
    # Not closed: that would end the actors, and the next run goes on with them.
    driver = Trainer(config, pool, LearnerGroup(lambda generation: [learner]), lambda: next(generations), clock, clock)
    driver.start()
    for _ in driver.updates():
        pass
    (begin, before), (end, after) = clock.marks
    cpu_s = [(then.cpu_s - now.cpu_s) / num_updates for then, now in zip(after, before, strict=True)]
    driver_s, raylet_s, gcs_s, *workers_s = cpu_s
    update_s, memory_bytes = (end - begin) / num_updates, after[0].memory_bytes
    costs = (driver_s, raylet_s, gcs_s, sum(workers_s), idle_cores)
    return DriverCost(len(actors), num_updates, update_s, *costs, memory_bytes)
