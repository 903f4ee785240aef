"""TrialJournal: what the trials of a search have done so far, in a file that survives a kill.

``trials.jsonl`` has one JSON object a line, and grows by whole lines. A last line that a crash has cut off is dropped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from distpolicy.errors import DistPolicyError
from distpolicy.utils.atomic_files import GrowingFile
from distpolicy.utils.files.bounded_files import parse_json, read_text

# The journal's file in the folder of a search.
JOURNAL_FILE = "trials.jsonl"

# What stands between the numbers in the name of a trial.
SEED_MARK = "-seed"

_MAX_BYTES = 2**30

# States of a trial. A trial that waits or runs when the command is killed goes on after --resume.
WAITING, RUNNING, FINISHED, STOPPED, FAILED = "waiting", "running", "finished", "stopped", "failed"

# What a trial is that has not ended, for whoever reads the journal: it may wait, run, or have been killed.
UNFINISHED = "unfinished"


class TrialReport(NamedTuple):
    """What a trial has reached.

    Attributes:
        steps: Steps so far, as ``total_steps`` counts them.
        score: The metric that trials are compared by; NaN if there is none yet.
        train_s: Seconds of training so far.
    """

    steps: int
    score: float
    train_s: float


class Exchange(NamedTuple):
    """A trial has gone on from another one's checkpoint.

    Attributes:
        steps: Steps of the trial until then.
        source: The other trial.
        settings: The settings from then on.
    """

    steps: int
    source: int
    settings: dict[str, Any]


@dataclass
class TrialRecord:
    """One trial.

    Attributes:
        trial: Its number, from 0.
        sample: The number of its settings; trials of one sample differ in their seed.
        seed: Its seed.
        settings: Its settings by name, as they are now.
        state: ``waiting``, ``running``, ``finished``, ``stopped`` by the scheduler, or ``failed``.
        reason: Why it failed.
        reports: Its reports, in their order.
        exchanges: The checkpoints of others that it went on from.
    """

    trial: int
    sample: int
    seed: int
    settings: dict[str, Any]
    state: str = WAITING
    reason: str = ""
    reports: list[TrialReport] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The last score; NaN if there is none."""
        return next((report.score for report in reversed(self.reports) if not math.isnan(report.score)), math.nan)

    @property
    def steps(self) -> int:
        """The steps so far."""
        return self.reports[-1].steps if self.reports else 0

    @property
    def outcome(self) -> str:
        """How it has ended: its state, or ``unfinished``."""
        return self.state if self.is_over else UNFINISHED

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in (FINISHED, STOPPED, FAILED)


class TrialJournal:
    """The trials of a search, kept in a file.

    Args:
        path: The file. What it holds is read first.

    Attributes:
        records: The trials by number.

    Raises:
        DistPolicyError: If the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        events = _events(path)
        self.records = _records(events, path)
        lines = "".join(_line(event) for event in events)
        self._file = GrowingFile(path, lines.encode())

    def begin(self, trial: int, sample: int, seed: int, settings: Mapping[str, Any]) -> TrialRecord:
        """Notes a new trial."""
        self._note({"event": "trial", "trial": trial, "sample": sample, "seed": seed, "settings": dict(settings)})
        return self.records[trial]

    def run(self, trial: int) -> None:
        """Notes that a trial is running."""
        self.records[trial].state = RUNNING

    def report(self, trial: int, report: TrialReport) -> None:
        """Notes what a trial has reached."""
        score = None if math.isnan(report.score) else report.score
        steps, train_s = report.steps, report.train_s
        self._note({"event": "report", "trial": trial, "steps": steps, "score": score, "train_s": train_s})

    def exchange(self, trial: int, exchange: Exchange) -> None:
        """Notes that a trial goes on from another one's checkpoint."""
        self._note({"event": "exchange", "trial": trial, **exchange._asdict()})

    def end(self, trial: int, state: str, reason: str = "") -> None:
        """Notes the end of a trial."""
        self._note({"event": "end", "trial": trial, "state": state, "reason": reason})

    def close(self) -> None:
        """Closes the file; may be called twice."""
        self._file.close()

    def _note(self, event: dict[str, Any]) -> None:
        _apply(self.records, event)
        self._file.append(_line(event).encode())


def trial_name(sample: int, seed: int) -> str:
    """Returns the name of a trial and of its run directory."""
    return f"{sample:04d}{SEED_MARK}{seed}"


def read_trials(path: Path) -> dict[int, TrialRecord]:
    """Returns the trials of a search by number, without writing anything; none if there is no journal yet.

    Raises:
        DistPolicyError: If the file cannot be read.
    """
    return _records(_events(path), path)


def _records(events: Sequence[dict[str, Any]], path: Path) -> dict[int, TrialRecord]:
    records: dict[int, TrialRecord] = {}
    for number, event in enumerate(events, 1):
        try:
            _apply(records, event)
        except (KeyError, TypeError, ValueError) as error:
            raise DistPolicyError(
                f"cannot read {path}: line {number} is not an event of a search; move the file away to begin the "
                "search anew"
            ) from error
    return records


def _apply(records: dict[int, TrialRecord], event: dict[str, Any]) -> None:
    kind, trial = event["event"], int(event["trial"])
    if kind == "trial":
        records[trial] = TrialRecord(trial, int(event["sample"]), int(event["seed"]), dict(event["settings"]))
        return
    record = records[trial]
    if kind == "report":
        score = math.nan if event["score"] is None else float(event["score"])
        record.reports.append(TrialReport(int(event["steps"]), score, float(event["train_s"])))
    elif kind == "exchange":
        found = Exchange(int(event["steps"]), int(event["source"]), dict(event["settings"]))
        record.exchanges.append(found)
        record.settings = found.settings
    elif kind == "end":
        record.state, record.reason = str(event["state"]), str(event["reason"])


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(event) + "\n"


def _events(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        text = read_text(path, _MAX_BYTES)
        return [parse_json(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    except (OSError, ValueError) as error:
        raise DistPolicyError(f"cannot read {path}: {error}; move it away to begin the search anew") from error
