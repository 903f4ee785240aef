"""MetricsFile: metrics.csv, one row for each update."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distpolicy.errors import DistPolicyError, DistPolicyWarning
from distpolicy.utils.atomic_files import GrowingFile
from launch.output.growing_table import read_table_text
from launch.output.set_aside import set_aside

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
    "sync_s",
    "update_s",
    "learner_wait_s",
    "learner_other_s",
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
    evaluations become columns when they come first, and so do all names of the first row with a loss, since an agent of
    the user's own says what it measures when it learns; the file is then written anew.

    Args:
        path: The file.
        more_columns: Names of metrics that observers measure; they become columns even if the first row lacks them.
        first_update: The first update that will be written; existing rows from this update on are dropped. A row that
            is missing before it, or is damaged, becomes a row with the update's number only, and a warning says so.

    Raises:
        DistPolicyError: If the file cannot be read or written; :meth:`write` raises it, too.
    """

    def __init__(self, path: Path, more_columns: Sequence[str] = (), first_update: int = 1) -> None:
        self._path, self._more_columns = path, tuple(more_columns)
        self._kept = _complete(path, read_rows(path), first_update)
        self._columns: tuple[str, ...] | None = None
        self._has_learned = False
        self._file = GrowingFile(path, self._text([name for name in self._kept[0] if name] if self._kept else []))

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Writes the metrics of an update.

        Raises:
            ValueError: If a name is not a column.
        """
        if self._columns is None:
            before = [name for name in self._kept[0] if name] if self._kept else []
            self._use(tuple(dict.fromkeys([*before, *RUN_COLUMNS, *metrics, *self._more_columns])), before)
        elif late := [name for name in metrics if name not in self._columns and self._may_be_late(name, metrics)]:
            self._kept = read_rows(self._path)
            self._use((*self._columns, *late), self._columns)
        assert self._columns is not None
        self._has_learned |= "loss" in metrics
        text = io.StringIO()
        row = {name: _short(value) for name, value in metrics.items()}
        csv.DictWriter(text, self._columns, restval="").writerow(row)
        self._file.append(text.getvalue().encode())

    def _may_be_late(self, name: str, metrics: Mapping[str, Any]) -> bool:
        return name.startswith(_GROWING) or ("loss" in metrics and not self._has_learned)

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
    """Returns the rows of a ``metrics.csv``, without a last line that a crash has cut off, and without damaged rows.

    Raises:
        DistPolicyError: If the file cannot be read.
    """
    if not path.exists():
        return []
    try:
        return [row for row in csv.DictReader(io.StringIO(read_table_text(path))) if _is_sound(row)]
    except (OSError, ValueError, csv.Error) as error:
        raise DistPolicyError(f"cannot read {path}: {error}; move it away to go on without it") from error


def _is_sound(row: dict[Any, Any]) -> bool:
    """Returns True if a row has a value for each column, and all values that it gives are numbers."""
    if None in row or not row.get("update"):
        return False
    try:
        if not float(row["update"]).is_integer():
            return False
        return all(value is not None and (not value or float(value) is not None) for value in row.values())
    except ValueError:
        return False


def _complete(path: Path, rows: Sequence[dict[str, str]], first_update: int) -> list[dict[str, str]]:
    """Returns the rows of all updates before ``first_update``. Those that are missing have the update's number only."""
    found = {int(float(row["update"])): row for row in rows}
    missing = sorted(set(range(1, first_update)) - set(found))
    if missing and path.exists():
        warnings.warn(
            f"{path} lacks {len(missing)} of {first_update - 1} updates, from {missing[0]} to {missing[-1]}: it was "
            f"cut or changed; their rows are empty, and it is kept as it was in {set_aside(path).name}",
            DistPolicyWarning,
            stacklevel=3,
        )
    if not path.exists():
        return []
    empty = dict.fromkeys(rows[0], "") if rows else {}
    return [found.get(update, {**empty, "update": str(update)}) for update in range(1, first_update)]
