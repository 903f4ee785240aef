"""Metrics of a run: rows of metrics.csv and TensorBoard events."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from distpolicy.utils.atomic_files import GrowingFile
from launch.output.tensorboard import TensorBoardWriter

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


class MetricsWriter:
    """Appends a row an update to ``metrics.csv`` and the same figures to TensorBoard.

    The first row decides the columns: those of every run, then what the agent returned beside them.

    Args:
        folder: The run directory.
        first_update: The first update that will be written; rows of a run that is resumed from there on are dropped.

    Raises:
        DistPolicyError: If a file cannot be written; names it. So do the methods.
    """

    def __init__(self, folder: Path, first_update: int = 1) -> None:
        path = folder / "metrics.csv"
        kept = [row for row in read_rows(path) if int(float(row["update"])) < first_update]
        self._columns = tuple(kept[0]) if kept else ()
        text = io.StringIO()
        if kept:
            rows = csv.DictWriter(text, self._columns, restval="")
            rows.writeheader()
            rows.writerows(kept)
        self._rows = GrowingFile(path, text.getvalue().encode())
        # Events of the rows that are dropped are dropped by TensorBoard, too.
        self._events = TensorBoardWriter(folder, purge_step=int(float(kept[-1]["env_steps"])) + 1 if kept else None)

    def write(self, row: dict[str, Any]) -> None:
        """Writes one update's figures.

        Raises:
            ValueError: If the row has a name that is not a column.
        """
        text = io.StringIO()
        begins = not self._columns
        if begins:
            self._columns = (*RUN_COLUMNS, *(name for name in row if name not in RUN_COLUMNS))
        rows = csv.DictWriter(text, self._columns, restval="")
        if begins:
            rows.writeheader()
        rows.writerow({name: _short(value) for name, value in row.items()})
        self._rows.append(text.getvalue().encode())
        figures = {f"train/{name}": value for name, value in row.items() if name not in ("update", "env_steps")}
        self._events.add(figures, row["env_steps"])

    def write_evaluation(self, env_steps: int, returns: list[float]) -> None:
        """Writes an evaluation's mean return to TensorBoard."""
        self._events.add({"evaluation/return_mean": sum(returns) / len(returns)}, env_steps)

    def close(self) -> None:
        """Closes both files; may be called twice."""
        self._rows.close()
        self._events.close()


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a ``metrics.csv``; a last line that was cut off by a crash is left out."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.DictReader(io.StringIO(whole)) if row.get("update")]
