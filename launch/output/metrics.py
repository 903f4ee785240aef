"""MetricsFile: metrics.csv, a row an update."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distpolicy.utils.atomic_files import GrowingFile

# What every run has; then come the columns of its algorithm.
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
)


class MetricsFile:
    """Appends rows to ``metrics.csv``.

    The first row that is written decides the columns: those that the file has already, those of every run, what the
    agent returned beside them, and what observers measure.

    Args:
        path: The file.
        more_columns: Names of metrics that observers measure, whether the first row has them or not.
        first_update: The first update that will be written; rows from there on are dropped.

    Raises:
        DistPolicyError: If it cannot be written. So does :meth:`write`.
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
            columns = tuple(dict.fromkeys([*before, *RUN_COLUMNS, *metrics, *self._more_columns]))
            if columns != tuple(before):
                self._file.close()
                self._file = GrowingFile(self._path, self._text(columns))
            self._columns, self._kept = columns, []
        text = io.StringIO()
        row = {name: _short(value) for name, value in metrics.items()}
        csv.DictWriter(text, self._columns, restval="").writerow(row)
        self._file.append(text.getvalue().encode())

    def _text(self, columns: Sequence[str]) -> bytes:
        """Returns the rows that are kept, under a header."""
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
    """The rows of a ``metrics.csv``; a last line that was cut off by a crash is left out."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.DictReader(io.StringIO(whole)) if row.get("update")]
