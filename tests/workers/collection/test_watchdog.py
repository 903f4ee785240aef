from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distpolicy.errors import DistPolicyError
from workers.collection.watchdog import Watchdog, read_hang, remove_leftovers

ROOT = Path(__file__).resolve().parents[3]

STEPS = """
import ctypes, pathlib, sys, time
from workers.collection.watchdog import Watchdog
begun = 0
def hang_free():
    time.sleep(300)
def hang_keeping_the_gil():
    ctypes.PyDLL(None).sleep(300)
def steps(count, seconds, call=time.sleep):
    global begun
    for _ in range(count):
        begun += 1
        call(seconds)
watch = Watchdog(pathlib.Path(sys.argv[1]), 1.0, lambda: begun)
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("code", "step", "function"),
    [
        # Long enough for a look at the steps before.
        ("steps(30, 0.02); begun += 1; hang_free()", 31, "hang_free"),
        ("steps(30, 0.02); begun += 1; time.sleep(0.4); hang_keeping_the_gil()", 31, "hang_keeping_the_gil"),
        ("begun = 7; hang_keeping_the_gil()", 0, "hang_keeping_the_gil"),
    ],
)
def test_a_hang_ends_the_process_and_leaves_its_step_and_stacks(
    tmp_path: Path, code: str, step: int, function: str
) -> None:
    path = tmp_path / "stacks"
    start = time.monotonic()
    result = run(f"{STEPS}\nwith watch:\n    {code}", str(path))
    assert result.returncode == 1, result.stderr
    assert 1.0 < time.monotonic() - start < 200
    hang = read_hang(path)
    assert hang is not None
    assert hang.step == step
    assert hang.held_gil == (function == "hang_keeping_the_gil")
    assert f"in {function}" in hang.stacks


def test_slow_steps_and_whatever_takes_long_outside_of_rollouts_are_no_hang(tmp_path: Path) -> None:
    code = """
keep_gil = ctypes.PyDLL(None).usleep
with watch:
    steps(3, 0.3)
    steps(5, 300_000, keep_gil)
time.sleep(1.2)
keep_gil(900_000)
keep_gil(900_000)
with watch:
    steps(1, 0.3)
assert pathlib.Path(sys.argv[1]).exists()
watch.close()
watch.close()
keep_gil(900_000)
keep_gil(900_000)
print("done")
"""
    result = run(STEPS + code, str(tmp_path / "stacks"))
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"
    assert not list(tmp_path.iterdir())


def test_a_watch_without_end_can_be_entered(tmp_path: Path) -> None:
    watch = Watchdog(tmp_path / "stacks", float("inf"), lambda: 0)
    with watch:
        pass
    assert read_hang(tmp_path / "stacks") is None
    watch.close()


def test_a_file_that_is_not_there_or_was_cut_off_tells_of_no_hang(tmp_path: Path) -> None:
    assert read_hang(tmp_path / "nothing") is None
    for text in ("", "000", "x\nThread", "12\n"):
        (tmp_path / "stacks").write_text(text)
        assert read_hang(tmp_path / "stacks") is None


COLLECT = """
import pathlib, sys
from workers.collection.collector import CollectorConfig
from workers.datasets.collector import DatasetCollector, DatasetWriterConfig
from workers.environments.factory import EnvironmentFactory
from workers.inference.policy_source import PolicySource
from workers.datasets.episode_index import SlotLimits
folder, env_id, vectorization, after = sys.argv[1:]
kwargs = {"fault": "hang", "after": int(after)} if after else {}
env = EnvironmentFactory(env_id, vectorization, kwargs, step_timeout_s=1.0)
writer = DatasetWriterConfig(folder, "a", SlotLimits(), rows_per_shard=10**6)
collector = DatasetCollector(CollectorConfig(0, 0, 2, num_steps=16, seed=0), env, PolicySource("random"), writer)
for _ in range(3):
    print(collector.collect().faults, flush=True)
collector.close()
"""


@pytest.mark.parametrize(
    ("env_id", "vectorization", "after"),
    [("toy_envs:FaultyEnv", "sync", "15"), ("hanging_vector_env:HangingVector-v0", "vector_entry_point", "")],
)
def test_a_collector_of_slots_in_one_process_ends_when_a_step_hangs(
    tmp_path: Path, env_id: str, vectorization: str, after: str
) -> None:
    result = run(COLLECT, str(tmp_path), env_id, vectorization, after)
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stdout == "[]\n"  # one whole rollout
    hang = read_hang(tmp_path / ".a.stacks")
    assert hang is not None
    assert 17 <= hang.step <= 32
    assert "simulate_for_ever" in hang.stacks


def test_a_collector_of_slots_in_processes_outlives_a_step_that_hangs(tmp_path: Path) -> None:
    result = run(COLLECT, str(tmp_path), "toy_envs:FaultyEnv", "async", "15")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "hung in step" in result.stdout
    assert not list(tmp_path.glob(".a.stacks"))


def test_files_of_killed_runs_go_and_those_of_living_collectors_stay(tmp_path: Path) -> None:
    long_ago = time.time() - 1000.0
    gone, fresh, other = (
        tmp_path / name for name in ("distpolicy-1-c0.stacks", "distpolicy-2-c0.stacks", ".generation0-c0.stacks")
    )
    for path in (gone, fresh, other):
        path.touch()
    for path in (gone, other):
        os.utime(path, (long_ago, long_ago))
    used = tmp_path / "distpolicy-3-c0.stacks"
    watchdog = Watchdog(used, 60.0, lambda: 1)
    with watchdog:
        os.utime(used, (long_ago, long_ago))
        remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([fresh.name, other.name, used.name])
    assert used.stat().st_mode & 0o077 == 0
    watchdog.close()
    assert not used.exists()


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / "stacks").symlink_to(target)
    watchdog = Watchdog(tmp_path / "stacks", 60.0, lambda: 1)
    with pytest.raises(DistPolicyError, match="cannot write"), watchdog:
        pass
    assert target.read_text() == "kept"
