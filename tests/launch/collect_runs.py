"""Runs of `distpolicy collect` as a user starts them, and what their data has to be like."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from commands import distpolicy, environment, our_processes

from distpolicy.errors import CheckpointError
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import flatten, map_structure
from workers.collection.collector import CollectorConfig
from workers.datasets.collector import DatasetCollector, DatasetWriterConfig
from workers.datasets.episode_index import SlotLimits
from workers.datasets.manifest import DatasetManifest, verify
from workers.datasets.reader import read_episodes, read_steps
from workers.environments.factory import EnvironmentFactory
from workers.inference.policy_source import PolicySource

HERE = Path(__file__).resolve().parent
TOYS = str(HERE.parent / "workers")
ROLLOUT_STEPS = 16
QUICK = ("--num-envs", "4", "--rollout-steps", str(ROLLOUT_STEPS), "--vectorization", "sync")
ONE = ("--collectors", "1", *QUICK)


def paced(let_go: Path) -> tuple[str, ...]:
    """Options of a job that has far to go when something is done to it, until a file lets it go."""
    return ("--env", "paced_env:PacedCartPole", "--env-kwargs", "let_go", str(let_go))


def collect(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return distpolicy("collect", *arguments, cwd=cwd, PYTHONPATH=with_toys())


def collected(*arguments: str, cwd: Path) -> str:
    """The output of a job that ends well."""
    result = collect(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not result.stderr
    return result.stdout


def with_toys() -> str:
    return os.pathsep.join([TOYS, str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])


@contextlib.contextmanager
def toys_importable() -> Iterator[None]:
    """In this process too."""
    sys.path.insert(0, TOYS)
    try:
        yield
    finally:
        sys.path.remove(TOYS)


def disturbed(
    folder: Path, disturb: Callable[[subprocess.Popen[str]], None], *arguments: str, more_shards: int = 4
) -> tuple[int, str, str]:
    """Does something to a job once its manifest names more shards: exit code, output and errors."""
    command = [sys.executable, "-m", "launch", "collect", *arguments]
    target = num_shards(folder) + more_shards
    process = subprocess.Popen(
        command,
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONPATH=with_toys()),
    )
    while process.poll() is None and num_shards(folder) < target:
        time.sleep(0.02)
    disturb(process)
    output, errors = process.communicate()
    return process.returncode, output, errors


def end_when_some_is_whole(folder: Path, signal_number: int, *arguments: str) -> tuple[int, str, str]:
    """Sends a signal to a job once its manifest names some shards: exit code, output and errors."""
    return disturbed(folder, lambda process: process.send_signal(signal_number), *arguments)


def collector_processes() -> list[int]:
    """The ids of the collectors of the jobs that tests have started."""
    found = []
    for folder in our_processes():
        with contextlib.suppress(OSError):
            if b"DatasetCollector" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def num_shards(folder: Path) -> int:
    try:
        return len(DatasetManifest.load(folder).shards)
    except CheckpointError:
        return 0


def collected_here(folder: Path, env: EnvironmentFactory, slots: range, limits: SlotLimits) -> None:
    """What a job with seed 0 and the random policy collects in some slots, by a collector in this process."""
    config = CollectorConfig(0, slots.start, len(slots), ROLLOUT_STEPS, seed=0)
    writer = DatasetWriterConfig(str(folder), "reference", limits)
    with toys_importable():
        collector = DatasetCollector(config, env, PolicySource("random"), writer)
        while not collector.collect().finished:
            pass
        records = collector.flush()
        collector.close()
    schema = collector.describe().schema
    manifest = DatasetManifest(schema, env.env_id, "random", 0, slots.stop).with_generation(0.0, 0).with_shards(records)
    manifest.save(folder)


def sorted_steps(folder: Path, slots: range | None = None) -> Any:
    """All steps, or those of some slots, by slot and step."""
    joined = map_structure(lambda *leaves: np.concatenate(leaves), *read_steps(folder))
    order = np.lexsort((joined["step"], joined["slot"]))
    if slots is not None:
        order = order[np.isin(joined["slot"][order], slots)]
    return map_structure(lambda leaf: leaf[order], joined)


def rows_in_bytes(folder: Path, slots: range | None = None) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [(leaf.dtype.str, leaf.shape, leaf.tobytes()) for leaf in flatten(sorted_steps(folder, slots))]


def check_whole(folder: Path, num_rows: int) -> DatasetManifest:
    """Nothing is damaged, twice or left out, and nothing else is there."""
    manifest = verify(folder)
    assert manifest.num_rows == num_rows
    steps = sorted_steps(folder)
    places = list(zip(steps["slot"].tolist(), steps["step"].tolist(), strict=True))
    assert places == [(slot, step) for slot, count in enumerate(manifest.next_steps()) for step in range(count)]
    assert len(places) == num_rows
    return manifest


def check_tidy(folder: Path) -> None:
    """There is nothing but what belongs to a dataset."""
    named = {shard.file for shard in DatasetManifest.load(folder).shards}
    assert {path.name for path in folder.iterdir()} - {"_faults"} == {
        "_manifest.json",
        "_shards.jsonl",
        "_config.yaml",
        *named,
    }


def check_cuts(folder: Path, manifest: DatasetManifest) -> None:
    """Exactly the episodes that were under way when slots were begun anew are flagged."""
    steps = sorted_steps(folder)
    expected = np.zeros(len(steps["slot"]), np.bool_)
    for generation in manifest.generations[1:]:
        at = steps["step"] == np.asarray(generation.next_steps)[steps["slot"]] - 1
        expected |= at & (steps["next_step_type"] != StepType.LAST)
    assert expected.any()
    assert np.array_equal(steps["cut"], expected)
    flagged = [episode for episode in read_episodes(folder) if episode["cut"].any()]
    assert len(flagged) == np.count_nonzero(expected)
    assert all(np.flatnonzero(episode["cut"]).tolist() == [len(episode["cut"]) - 1] for episode in flagged)


def check_returns_told(folder: Path, output: str) -> None:
    """The summary is of the episodes that ended in the data of a single job, each of them once."""
    episodes = [episode for episode in read_episodes(folder, only_ended=True) if not episode["cut"][-1]]
    returns = np.array([episode["reward"].sum() for episode in episodes], np.float64)
    lengths = np.array([len(episode["reward"]) for episode in episodes])
    line = next(line for line in output.splitlines() if "episodes: mean return" in line)
    assert line.startswith(f"{len(episodes):,} episodes: mean return {returns.mean():.1f} ±")
    assert line.endswith(f"min {returns.min():.1f}, max {returns.max():.1f}; mean length {lengths.mean():.1f}")


def check_one_line(result: subprocess.CompletedProcess[str], told: str, code: int = 2) -> None:
    assert result.returncode == code, result.stdout + result.stderr
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
