"""What the rows of the table of faults share: runs of the command, and what is read from what they leave."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
for _folder in ("tests/cluster", "tests/launch", "."):
    sys.path.insert(0, str(ROOT / _folder))

from commands import our_processes, read_metrics  # noqa: E402
from ray_head import RayHead, ray_head  # noqa: E402
from training_runs import IMPORTABLE, TrainingRun, kill, workers_of  # noqa: E402

from launch.training.checkpoint_store import Checkpoint, CheckpointStore  # noqa: E402

GRACE_S = 120.0


class Settings(NamedTuple):
    """What the command line of the benchmark says.

    Attributes:
        seconds: How long collectors are killed.
        row_timeout_s: Seconds after which a row's processes are killed, and it counts as not survived.
    """

    seconds: float
    row_timeout_s: float


class Skipped(Exception):
    """A row cannot be run here; says why."""


class Result(NamedTuple):
    """A row.

    Attributes:
        env_steps_lost: Env steps that had to be taken again, or are missing; None if there can be none.
        recovery: How long what was lost was away, or the command took to end.
        checked: What was found to hold.
    """

    env_steps_lost: int | None
    recovery: str
    checked: str


Row = Callable[[Settings, Path], Result]


def seconds(values: list[float]) -> str:
    """``4.1 s``, or the range of several."""
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{low:.1f} s" if len(values) == 1 else f"{low:.1f} to {high:.1f} s"


def recoveries(rows: list[dict[str, str]]) -> list[float]:
    """Seconds of those rows of faults.csv that are over."""
    return [float(row["recovery_s"]) for row in rows if row["recovery_s"]]


def steps_lost(rows: list[dict[str, str]]) -> int:
    """Env steps of rows of faults.csv."""
    return sum(int(row["env_steps_lost"]) for row in rows)


def ended_well(run: TrainingRun) -> None:
    """Waits for the end of a run, which has to be a good one.

    Raises:
        AssertionError: If it is none.
    """
    code = run.end()
    assert code == 0, f"exit code {code}: {run.errors.strip().splitlines()[-1:]}"
    assert "Traceback" not in run.errors, run.errors


def ended_in_one_line(run: TrainingRun, told: str, code: int = 1) -> str:
    """Waits for the end of a run, which has to tell in one line why it failed.

    Returns:
        The line.

    Raises:
        AssertionError: If it does otherwise.
    """
    found = run.end()
    lines = run.errors.strip().splitlines()
    assert found == code, f"exit code {found}: {lines[-1:]}"
    assert len(lines) == 1, f"{len(lines)} lines of errors: {lines}"
    assert told in lines[0], lines[0]
    return lines[0]


def no_process_left_s() -> float:
    """Seconds until nothing is left of what has been started, Ray's own processes included.

    Raises:
        AssertionError: If something is after a grace time.
    """
    return gone_s(our_processes)


def no_worker_left_s() -> float:
    """Likewise, of the collectors and the learner.

    Raises:
        AssertionError: As above.
    """
    return gone_s(lambda: workers_of("Collector") + workers_of("Learner"))


def gone_s(left: Callable[[], Sequence[Any]]) -> float:
    """Seconds until there is nothing left.

    Raises:
        AssertionError: If there is after a grace time.
    """
    begin = time.monotonic()
    while found := left():
        assert time.monotonic() < begin + GRACE_S, f"{len(found)} processes are left after {GRACE_S:g} s"
        time.sleep(0.05)
    return time.monotonic() - begin


def newest(run: Path) -> Checkpoint:
    """A run's newest checkpoint that is whole."""
    return CheckpointStore(run / "checkpoints", keep=1).latest_to_resume()


def env_steps(run: Path) -> int:
    """Env steps of a run's newest whole row of metrics."""
    # A last line that was cut off has no such column.
    rows = [row for row in read_metrics(run) if row["clip_range"] is not None]
    return int(rows[-1]["env_steps"]) if rows else 0


def resumed(folder: Path, *arguments: str, **variables: str) -> tuple[TrainingRun, float]:
    """Goes on with a run: it, and the seconds from the command to the first update."""
    begin = time.monotonic()
    run = TrainingRun(folder, "--resume", "run", *arguments, **variables)
    run.wait_for_line("first env step after")
    return run, time.monotonic() - begin


@contextlib.contextmanager
def cluster_head(folder: Path, *options: str) -> Iterator[tuple[RayHead, dict[str, str]]]:
    """A head by ``ray start`` with two CPUs, and the environment of commands that use it."""
    before = os.environ.get("PYTHONPATH")
    # Workers have the path of the head that starts them.
    os.environ["PYTHONPATH"] = os.pathsep.join([IMPORTABLE, str(ROOT / "benchmarks"), *filter(None, [before])])
    try:
        with ray_head(folder, "--num-cpus=2", *options) as head:
            yield head, head.environment(RAY_AUTH_MODE="token", PYTHONPATH=os.environ["PYTHONPATH"])
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextlib.contextmanager
def watched(timeout_s: float) -> Iterator[None]:
    """Kills what a row has started if it takes too long, so that what waits for it goes on."""
    timer = threading.Timer(timeout_s, lambda: kill(*(int(folder.name) for folder in our_processes())))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        kill(*(int(folder.name) for folder in our_processes()))
