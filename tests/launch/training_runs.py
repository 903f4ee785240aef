"""Runs of `distpolicy train` that something is done to while they go on, and what they have to leave."""

from __future__ import annotations

import contextlib
import csv
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from commands import environment, our_processes, read_metrics

HERE = Path(__file__).resolve().parent
IMPORTABLE = os.pathsep.join([str(HERE), str(HERE / "training"), str(HERE.parent / "workers")])

COLLECTORS, SLOTS, STEPS = 2, 4, 16
ROLLOUT_STEPS = SLOTS * STEPS
BATCH_STEPS = COLLECTORS * ROLLOUT_STEPS
SMALL = (
    "--envs-per-collector",
    str(SLOTS),
    "--rollout-steps",
    str(STEPS),
    "--ppo.num-minibatches",
    "2",
    "--ppo.num-epochs",
    "2",
)
SMALL += ("--network.actor-units", "8", "--ppo.value-units", "8", "--no-jit-compile", "--target-return", "None")
TWO = ("--collectors", str(COLLECTORS), *SMALL)
ONE = ("--collectors", "1", *SMALL)
WITHIN_A_RUN = ("--run-dir", "run", "--checkpoint-every", "5")


def paced(folder: Path, total_steps: int = 100_000_000) -> tuple[str, ...]:
    """Options of a run that goes on until :func:`let_go`, and then soon comes to its end if that is not far."""
    env = ("--env", "paced_env:PacedCartPole", "--env-kwargs", "let_go", str(folder / "let_go"))
    return (*env, "--vectorization", "sync", "--total-steps", str(total_steps), "--eval-episodes", "0")


def let_go(folder: Path) -> None:
    (folder / "let_go").touch()


# Options of every run, and the policy lag that they allow; benchmarks/faults.py --async changes both.
MORE_OPTIONS: list[str] = []
largest_lag = 0


class TrainingRun:
    """A command that has been started.

    Args:
        folder: Its working directory; also for its output.
        arguments: Its arguments, after ``train``.
        more: More of its environment.
    """

    def __init__(self, folder: Path, *arguments: str, **more: str) -> None:
        self.path = folder / "run"
        self._output, self._errors = folder / "output", folder / "errors"
        more = {"PYTHONPATH": IMPORTABLE, **more}
        with open(self._output, "w") as output, open(self._errors, "w") as errors:
            command = [sys.executable, "-m", "launch", "train", *arguments, *MORE_OPTIONS]
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=output, stderr=errors, env=environment(**with_project(more))
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    @property
    def errors(self) -> str:
        """Likewise, as errors."""
        return self._errors.read_text()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until something is so; it has to become so before the run ends."""
        while not condition():
            assert self.process.poll() is None or condition(), self.output + self.errors
            time.sleep(0.02)

    def wait_for_line(self, pattern: str) -> None:
        """Waits until it has printed what matches."""
        self.wait_for(lambda: re.search(pattern, self.output) is not None)

    def wait_for_updates(self, count: int) -> None:
        """Waits until its metrics have so many rows more."""
        rows = read_metrics(self.path) if self.path.exists() and (self.path / "metrics.csv").exists() else []
        self.wait_for(lambda: num_updates(self.path) >= len(rows) + count)

    def end(self, signal_number: int | None = None) -> int:
        """Sends it a signal, if one is given, and waits for its end: the exit code as a shell has it."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        code = self.process.wait()
        return 128 - code if code < 0 else code


def with_project(more: dict[str, str]) -> dict[str, str]:
    """The variables, with this project importable whatever the working directory."""
    return {**more, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), more["PYTHONPATH"]])}


def workers_of(kind: str) -> list[int]:
    """Process ids of the actors of a class, of commands of this test session."""
    name = rb"ray::" + kind.encode() + rb"\b"
    return sorted(int(folder.name) for folder in our_processes() if re.match(name, command_of(folder)))


def command_of(process: Path) -> bytes:
    """The command line of a process, by its folder in /proc; empty if it has ended."""
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_bytes()
    return b""


def kill(*process_ids: int) -> None:
    """kill -9; one that has ended meanwhile is no fault."""
    for process_id in process_ids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def num_updates(run: Path) -> int:
    """Rows of a run's metrics, the last of which may be half written."""
    with contextlib.suppress(OSError):
        return max((run / "metrics.csv").read_text().count("\n") - 1, 0)
    return 0


def faults(run: Path) -> list[dict[str, str]]:
    """The rows of a run's faults."""
    if not (run / "faults.csv").exists():
        return []
    with open(run / "faults.csv", newline="") as file:
        return list(csv.DictReader(file))


def check_accounts(run: Path, batch_steps: int) -> int:
    """Updates are there once and in order, each learned from one batch at most, by weights within the policy lag.

    Returns:
        How many there are.
    """
    rows = read_metrics(run)
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    steps = [0, *(int(row["env_steps"]) for row in rows)]
    grown = [after - before for before, after in itertools.pairwise(steps)]
    # Those in which slots only reset are no env steps.
    assert all(batch_steps // 2 < number <= batch_steps for number in grown), grown
    assert max(float(row["policy_lag"]) for row in rows) <= largest_lag
    return len(rows)
