"""MetricsFile: metrics.csv, a row an update."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distpolicy.utils.atomic_files import GrowingFile

COLUMNS = (
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
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "gradient_norm",
    "explained_variance",
    "learning_rate",
    "clip_range",
)


class MetricsFile:
    """Appends rows to ``metrics.csv``.

    Args:
        path: The file.
        columns: Names of its columns; those of rows that are there already stay as well.
        first_update: The first update that will be written; rows from there on are dropped.

    Raises:
        DistPolicyError: If it cannot be written. So does :meth:`write`.
    """

    def __init__(self, path: Path, columns: Sequence[str] = COLUMNS, first_update: int = 1) -> None:
        kept = [row for row in read_rows(path) if int(float(row["update"])) < first_update]
        self._columns = tuple(dict.fromkeys([*columns, *(name for row in kept[:1] for name in row if name)]))
        text = io.StringIO()
        rows = csv.DictWriter(text, self._columns, restval="", extrasaction="ignore")
        rows.writeheader()
        rows.writerows(kept)
        self._file = GrowingFile(path, text.getvalue().encode())

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Writes the metrics of an update; names that are no column are an error."""
        text = io.StringIO()
        row = {name: _short(value) for name, value in metrics.items()}
        csv.DictWriter(text, self._columns, restval="").writerow(row)
        self._file.append(text.getvalue().encode())

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
