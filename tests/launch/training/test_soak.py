"""An asynchronous run that lasts: memory, objects and descriptors do not grow."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from driver_runs import CONFIG, Recorder, Stop, make_driver, process_id
from light_workers import store

pytestmark = pytest.mark.usefixtures("local_ray")

# Of each order.
MINUTES = float(os.environ.get("DISTPOLICY_SOAK_MINUTES", "30"))
NUM_SAMPLES = 60


class Sample(NamedTuple):
    """What a run holds at some time: sizes of its processes, their open files, and objects in Ray's store."""

    resident_mib: list[float]
    descriptors: list[int]
    objects: int


def sample(pids: list[int]) -> Sample:
    resident = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20 for pid in pids]
    descriptors = [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]
    return Sample(resident, descriptors, store().num_objects)


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.parametrize("order", ["fixed", "arrival"])
def test_a_long_run_with_a_lag_stays_as_large_as_it_is(order: str) -> None:
    every_s = MINUTES * 60.0 / NUM_SAMPLES
    samples: list[Sample] = []
    next_s = 0.0

    def then(recorder: Recorder) -> None:
        nonlocal next_s
        recorder.outcomes.clear()
        if time.monotonic() >= next_s:
            samples.append(sample(pids))
            next_s = time.monotonic() + every_s
        if len(samples) == NUM_SAMPLES:
            raise Stop

    config = dataclasses.replace(
        CONFIG, max_policy_lag=2, rollout_order=order, total_steps=10**12, checkpoint_every=500, eval_every=1000
    )
    config = dataclasses.replace(config, eval_episodes=2, eval_max_episode_steps=20)
    driver = make_driver(config, recorder=Recorder(then))
    pids = [os.getpid(), *map(process_id, [*driver.learners.actors, *(handle.actor for handle in driver.handles)])]
    try:
        with pytest.raises(Stop):
            for _ in driver.updates():
                pass
    finally:
        driver.close()
    # The first third is for what grows once: caches, pools of memory, evaluations.
    third = NUM_SAMPLES // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    for process in range(len(pids)):
        before, after = (np.median([item.resident_mib[process] for item in part]) for part in (middle, last))
        assert after <= before * 1.02 + 4.0, f"process {process} grew from {before:.1f} to {after:.1f} MiB"
        files = [max(item.descriptors[process] for item in part) for part in (middle, last)]
        assert files[1] <= files[0] + 2, f"process {process} has {files} open files"
    assert max(item.objects for item in last) <= max(item.objects for item in middle) + 4
