"""Running the command line in tests, and seeing that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import csv
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

SMALL = ("--collectors", "1", "--envs-per-collector", "4", "--rollout-steps", "16", "--ppo.num-minibatches", "2")


QUICK = (*SMALL, "--ppo.num-epochs", "2", "--network.actor-units", "8", "--ppo.value-units", "8")


# Every process that a command of this test session starts has it in its environment.
MARK = f"DISTPOLICY_TEST={uuid.uuid4()}"


def environment(**more: str) -> dict[str, str]:
    name, _, value = MARK.partition("=")
    return {**os.environ, **more, name: value}


def distpolicy(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment(**more))


def our_processes() -> list[Path]:
    """Folders in /proc of the processes that commands of this test session started, and that still run.

    Ray's agents give themselves titles, which can overwrite the environment that they were started with. They are known
    by their parents.
    """
    parents, found = {}, set()
    for process in psutil.process_iter():
        # It may have ended meanwhile, or be another user's.
        with contextlib.suppress(OSError, psutil.Error):
            parents[process.pid] = process.ppid()
            if MARK.encode() in Path(f"/proc/{process.pid}/environ").read_bytes():
                found.add(process.pid)
    # A parent usually has a smaller number than its children, but need not have.
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return [Path(f"/proc/{pid}") for pid in sorted(found)]


@pytest.fixture
def no_process_left() -> Iterator[None]:
    yield
    # A process that has been told to end may still be on its way, on a busy machine for long.
    deadline = time.monotonic() + 30.0
    while our_processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not our_processes()


def read_metrics(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def read_evaluations(run: Path) -> list[dict[str, str]]:
    with open(run / "evaluations.csv", newline="") as file:
        return list(csv.DictReader(file))


def checkpoints(run: Path) -> list[Path]:
    """The whole checkpoints of a run, the oldest first; the name of one that is being written begins with a point."""
    return sorted((run / "checkpoints").glob("[!.]*"))


def newest_checkpoint(run: Path) -> Path:
    return checkpoints(run)[-1]
