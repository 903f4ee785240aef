"""MetricsFile: metrics.csv, one row for each update."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distpolicy.utils.atomic_files import GrowingFile

# The columns of every run; the columns of its algorithm follow.
RUN_COLUMNS = (
    "update",
    "env_steps",
    "episodes",
    "episode_return",
    "episode_length",
    "return_mean_100",
    "steps_per_s",
    "train_s",
    "policy_lag",
    "rollout_s",
    "env_s",
    "policy_s",
    "collector_wait_s",
    "update_s",
    "learner_wait_s",
    "loss",
    "eval_return_mean",
    "eval_length_mean",
)

# Beginnings of names that become columns whenever they come: numbers of an environment's info, and evaluations.
_GROWING = ("info/", "eval_")


class MetricsFile:
    """The file ``metrics.csv``, to which rows are appended.

    The first row that is written decides the columns: the columns that the file has already, those of every run, the
    agent's other metrics, and the metrics that observers measure. Numbers of an environment's ``info`` and of
    evaluations become columns when they come first; the file is then written anew.

    Args:
        path: The file.
        more_columns: Names of metrics that observers measure; they become columns even if the first row lacks them.
        first_update: The first update that will be written; existing rows from this update on are dropped.

    Raises:
        DistPolicyError: If the file cannot be written; :meth:`write` raises it, too.
    """

    def __init__(self, path: Path, more_columns: Sequence[str] = (), first_update: int = 1) -> None:
        self._path, self._more_columns = path, tuple(more_columns)
        self._kept = [row for row in read_rows(path) if int(float(row["update"])) < first_update]
        self._columns: tuple[str, ...] | None = None
        self._file = GrowingFile(path, self._text([name for name in self._kept[0] if name] if self._kept else []))

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Writes the metrics of an update.

        Raises:
            ValueError: If a name is not a column.
        """
        if self._columns is None:
            before = [name for name in self._kept[0] if name] if self._kept else []
            self._use(tuple(dict.fromkeys([*before, *RUN_COLUMNS, *metrics, *self._more_columns])), before)
        elif late := [name for name in metrics if name not in self._columns and name.startswith(_GROWING)]:
            self._kept = read_rows(self._path)
            self._use((*self._columns, *late), self._columns)
        assert self._columns is not None
        text = io.StringIO()
        row = {name: _short(value) for name, value in metrics.items()}
        csv.DictWriter(text, self._columns, restval="").writerow(row)
        self._file.append(text.getvalue().encode())

    def amend(self, metrics: Mapping[str, Any]) -> None:
        """Adds metrics to the last row, such as those of an evaluation after it. Does nothing if there is no row."""
        rows = read_rows(self._path)
        if not rows:
            return
        rows[-1] |= {name: str(_short(value)) for name, value in metrics.items()}
        self._kept = rows
        before = tuple(name for name in rows[0] if name)
        self._use(tuple(dict.fromkeys([*before, *metrics])), ())

    def _use(self, columns: tuple[str, ...], before: Sequence[str]) -> None:
        """Writes the file anew with the rows that are kept, if its columns change."""
        if columns != tuple(before):
            self._file.close()
            self._file = GrowingFile(self._path, self._text(columns))
        self._columns, self._kept = columns, []

    def _text(self, columns: Sequence[str]) -> bytes:
        """Returns the header and the rows that are kept."""
        text = io.StringIO()
        if columns:
            rows = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
            rows.writeheader()
            rows.writerows(self._kept)
        return text.getvalue().encode()

    def close(self) -> None:
        """Closes the file; may be called twice."""
        self._file.close()


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a ``metrics.csv``, without a last line that a crash has cut off."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.DictReader(io.StringIO(whole)) if row.get("update")]
