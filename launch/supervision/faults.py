"""Faults of a run or a collect job, and the files that they are written to."""

from __future__ import annotations

import csv
import dataclasses
import io
import time
from dataclasses import dataclass
from pathlib import Path

from distpolicy.errors import DistPolicyError
from distpolicy.utils.atomic_files import write_file
from distpolicy.utils.files.bounded_files import read_text
from workers.environments.base import Fault

_MAX_BYTES = 2**30

COLUMNS = ("time", "update", "steps", "train_s", "what", "reason", "env_steps_lost", "recovery_s")

_HEADER = f"{','.join(COLUMNS)}\n"


@dataclass(frozen=True)
class RunFault:
    """A failure of a worker or an environment.

    Attributes:
        what: The worker or environment that failed.
        reason: The reason, in one line.
        env_steps_lost: Maximum number of env steps that were lost with it.
        noticed: Clock time at which it was noticed.
        recovery_s: Seconds from then until it was replaced; None if it is not replaced yet.
        name: The beginning of the names of the worker's files.
        stacks: The stacks of its threads if it hung, or a traceback; else empty.
        happened: The verb of the message: what happened to it.
    """

    what: str
    reason: str
    env_steps_lost: int = 0
    noticed: float = dataclasses.field(default_factory=time.time)
    recovery_s: float | None = None
    name: str = ""
    stacks: str = ""
    happened: str = "was lost"

    @property
    def line(self) -> str:
        """What failed and why, in one line."""
        return f"{self.what} {self.happened}: {self.reason}"

    def recovered(self) -> RunFault:
        """Returns this fault with the time until now as ``recovery_s``."""
        return dataclasses.replace(self, recovery_s=time.time() - self.noticed)


def environment_fault(name: str, fault: Fault) -> RunFault:
    """Returns the fault of an environment that has been replaced already.

    Args:
        name: The beginning of the names of its collector's files.
        fault: The fault as the collector reported it.
    """
    return RunFault(
        f"env slot {fault.slot}",
        fault.error,
        recovery_s=0.0,
        name=name,
        stacks=fault.traceback,
        happened=f"failed in {fault.call} and was replaced",
    )


class FaultTable:
    """The file ``faults.csv``: one row for each fault of a run, in the order in which they ended.

    Args:
        path: The file; the first fault creates it. An earlier file with other columns is written anew with these.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, fault: RunFault, update: int, steps: int, train_s: float) -> None:
        """Adds a row.

        Args:
            fault: The fault.
            update: Updates of the learner when it was noticed.
            steps: Steps of the run by then. A run that has lost its learner goes back behind them.
            train_s: Seconds of training by then.
        """
        try:
            before = read_text(self._path, _MAX_BYTES) if self._path.exists() else ""
            if not before.startswith(_HEADER):
                before = _in_our_columns(before)
        except (OSError, ValueError, csv.Error) as error:
            raise DistPolicyError(f"cannot read {self._path}: {error}; move it away") from error
        recovery = "" if fault.recovery_s is None else f"{fault.recovery_s:.3f}"
        row = [
            *(f"{fault.noticed:.3f}", update, steps, f"{train_s:.3f}"),
            *(fault.what, fault.reason, fault.env_steps_lost, recovery),
        ]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        write_file(self._path, before + text.getvalue())


def _in_our_columns(text: str) -> str:
    """Returns a table with the columns of ``faults.csv``; rows have no value in those that it lacks."""
    found = io.StringIO()
    rows = csv.DictWriter(found, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerows(csv.DictReader(io.StringIO(text)))
    return found.getvalue()


def collector_name(index: int, generation: int) -> str:
    """Returns the beginning of the names of a collector's files."""
    return f"generation{generation}-collector{index}"


def fault_file(folder: Path, name: str) -> Path:
    """Returns the path of the file for a collector's failures.

    Args:
        folder: The folder of a run's or a dataset's failures.
        name: Begins the names of the collector's files.
    """
    return folder / f"{name}.txt"


def note_fault(folder: Path, name: str, line: str, trace: str) -> Path | None:
    """Adds a failure to the file of a collector.

    Args:
        folder: The folder of a run's or a dataset's failures. It is made if it does not exist.
        name: Begins the names of the collector's files.
        line: What failed.
        trace: Traceback or stacks.

    Returns:
        The file; None if it cannot be written: this must not end the run.
    """
    path = fault_file(folder, name)
    try:
        path.parent.mkdir(exist_ok=True)
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{line}\n{trace.rstrip()}\n\n")
    except OSError:
        return None
    return path
