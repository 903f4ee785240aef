"""An asynchronous run that lasts: memory, objects and descriptors do not grow."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import psutil
import pytest
from driver_runs import CONFIG, Recorder, Stop, make_driver
from light_workers import store

from launch.cluster import session

# Of each order.
MINUTES = float(os.environ.get("DISTPOLICY_SOAK_MINUTES", "30"))
NUM_SAMPLES = 60


class Sample(NamedTuple):
    """What a run holds at some time: sizes of its processes, their open files, and objects in Ray's store."""

    resident_mib: list[float]
    descriptors: list[int]
    objects: int


def sample(processes: list[psutil.Process]) -> Sample:
    resident = [process.memory_info().rss / 2**20 for process in processes]
    return Sample(resident, [process.num_fds() for process in processes], store().num_objects)


@pytest.fixture
def own_ray() -> Iterator[None]:
    """Ray as a command starts it."""
    with session.connected(None):
        yield


def processes_of_run() -> dict[str, psutil.Process]:
    """This process, the workers, and Ray's own processes, by name. Workers that Ray keeps in reserve are left out."""
    found = {"driver": psutil.Process()}
    for process in psutil.Process().children(recursive=True):
        name = process.name()
        if name in ("gcs_server", "raylet") or (name.startswith("ray::") and name != "ray::IDLE"):
            found[f"{name} ({process.pid})"] = process
    return found


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.usefixtures("own_ray")
@pytest.mark.parametrize("order", ["fixed", "arrival"])
def test_a_long_run_with_a_lag_stays_as_large_as_it_is(order: str) -> None:
    every_s = MINUTES * 60.0 / NUM_SAMPLES
    samples: list[Sample] = []
    next_s = 0.0

    def then(recorder: Recorder) -> None:
        nonlocal next_s
        recorder.outcomes.clear()
        if time.monotonic() >= next_s:
            samples.append(sample(list(processes.values())))
            next_s = time.monotonic() + every_s
        if len(samples) == NUM_SAMPLES:
            raise Stop

    config = dataclasses.replace(
        CONFIG, max_policy_lag=2, rollout_order=order, total_steps=10**12, checkpoint_every=500, eval_every=1000
    )
    config = dataclasses.replace(config, eval_episodes=2, eval_max_episode_steps=20)
    driver = make_driver(config, recorder=Recorder(then))
    processes = processes_of_run()
    assert {"gcs_server", "raylet"} <= {name.split()[0] for name in processes}
    assert sum(name.startswith(("ray::Learner", "ray::Collector")) for name in processes) == 1 + len(driver.handles)
    try:
        with pytest.raises(Stop):
            for _ in driver.updates():
                pass
    finally:
        driver.close()
    # The first third is for what grows once: caches, pools of memory, evaluations.
    third = NUM_SAMPLES // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    for place, name in enumerate(processes):
        before, after = (np.median([item.resident_mib[place] for item in part]) for part in (middle, last))
        assert after <= before * 1.02 + 4.0, f"{name} grew from {before:.1f} to {after:.1f} MiB"
        files = [max(item.descriptors[place] for item in part) for part in (middle, last)]
        assert files[1] <= files[0] + 2, f"{name} has {files} open files"
    assert max(item.objects for item in last) <= max(item.objects for item in middle) + 4
