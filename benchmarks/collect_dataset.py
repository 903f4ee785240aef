"""What writing the dataset costs: a collector that writes beside one that does not."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from collect_policies import FACTORIES
from collect_sides import in_turns

from workers.collection.collector import Collector, CollectorConfig
from workers.datasets.collector import DatasetCollector, DatasetWriterConfig
from workers.datasets.episode_index import SlotLimits
from workers.environments.factory import EnvironmentFactory, Vectorization

ENV_ID = "CartPole-v1"
NUM_SLOTS, NUM_STEPS = 64, 128


class DatasetCase(NamedTuple):
    """One measurement.

    Attributes:
        vectorization: How the environment is stepped.
        num_rollouts: Rollouts in a turn, a second of them.
        cpus: CPUs for collecting and writing; with 1 they share it, as they do where every CPU has a collector.
        goal: Most that writing may cost, as a share of the collecting rate; None if it is only reported.
    """

    vectorization: Vectorization
    num_rollouts: int
    cpus: int
    goal: float | None


CASES = (
    DatasetCase("sync", 24, 2, 0.15),
    DatasetCase("sync", 24, 1, 0.15),
    DatasetCase("vector_entry_point", 48, 2, None),
)


def measure(case: DatasetCase, turns: int) -> dict[str, np.ndarray]:
    """Steps a second in every turn: ``collector``, and ``writing``, all rows of which are whole on disk in the end."""
    config = CollectorConfig(0, 0, NUM_SLOTS, NUM_STEPS, seed=0)
    factory = EnvironmentFactory(ENV_ID, case.vectorization)
    with tempfile.TemporaryDirectory() as folder, _on_cpus(case.cpus):
        collector = Collector(config, factory, FACTORIES["64x64"])
        writer = DatasetWriterConfig(folder, "benchmark", SlotLimits())
        writing = DatasetCollector(config, factory, FACTORIES["64x64"], writer)

        def run() -> float:
            start = time.perf_counter()
            for _ in range(case.num_rollouts):
                collector.rollout()
            return time.perf_counter() - start

        def run_writing() -> float:
            start = time.perf_counter()
            for _ in range(case.num_rollouts):
                writing.collect()
            writing.flush()
            return time.perf_counter() - start

        try:
            seconds = in_turns({"collector": run, "writing": run_writing}, turns)
        finally:
            collector.close()
            writing.close()
    return {name: case.num_rollouts * NUM_SLOTS * NUM_STEPS / values for name, values in seconds.items()}


@contextmanager
def _on_cpus(count: int) -> Iterator[None]:
    """Keeps this process, and threads that it starts, on so many CPUs, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
