"""GrowingTable: a CSV file to which rows are appended, and which a resumed run continues."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distpolicy.errors import DistPolicyError, DistPolicyWarning
from distpolicy.utils.atomic_files import GrowingFile
from distpolicy.utils.files.bounded_files import read_text
from launch.output.set_aside import set_aside

_MAX_BYTES = 2**30


class GrowingTable:
    """A table in a CSV file. The file is made with the first row, or if an earlier one has to be cut.

    Args:
        path: The file.
        columns: Names of the columns. An earlier file's rows lose others, and rows that lack one, or are damaged, go. A
            warning says so, and the earlier file is kept under another name.
        keeps: Returns True for the rows of an earlier file that stay.

    Raises:
        DistPolicyError: If the file cannot be read or written; :meth:`add` raises it, too.
    """

    def __init__(self, path: Path, columns: Sequence[str], keeps: Callable[[Mapping[str, str]], bool]) -> None:
        self._path, self._columns = path, tuple(columns)
        rows = _all_rows(path)
        sound = [row for row in rows if self._is_sound(row, keeps)]
        if len(sound) < len(rows) or any(len(row) > len(columns) for row in rows):
            warnings.warn(
                f"{path} was changed: it has columns or rows that the run did not write; it is written anew without "
                f"them, and kept as it was in {set_aside(path).name}",
                DistPolicyWarning,
                stacklevel=2,
            )
        kept = [row for row in sound if keeps(row)]
        self._file = GrowingFile(path, self._text(kept)) if path.exists() else None

    def _is_sound(self, row: Mapping[Any, Any], keeps: Callable[[Mapping[str, str]], bool]) -> bool:
        """Returns True if a row has a value for each column, and none of its numbers is damaged."""
        if not _is_complete(row) or not set(self._columns) <= set(row):
            return False
        try:
            keeps(row)
        except ValueError:
            return False
        return True

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row; columns that it lacks are empty."""
        if self._file is None:
            self._file = GrowingFile(self._path, self._text([]))
        text = io.StringIO()
        csv.DictWriter(text, self._columns, restval="").writerow({name: _short(value) for name, value in row.items()})
        self._file.append(text.getvalue().encode())

    def close(self) -> None:
        """Closes the file; may be called twice."""
        if self._file is not None:
            self._file.close()

    def _text(self, rows: Sequence[Mapping[str, str]]) -> bytes:
        text = io.StringIO()
        table = csv.DictWriter(text, self._columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def read_table(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file, without a last line that a crash has cut off, and without incomplete rows.

    Raises:
        DistPolicyError: If the file cannot be read.
    """
    return [row for row in _all_rows(path) if _is_complete(row)]


def _all_rows(path: Path) -> list[dict[Any, Any]]:
    if not path.is_file():
        return []
    try:
        text = read_table_text(path)
        return list(csv.DictReader(io.StringIO(text)))
    except (OSError, ValueError, csv.Error) as error:
        raise DistPolicyError(f"cannot read {path}: {error}; move it away to go on without it") from error


def _is_complete(row: Mapping[Any, Any]) -> bool:
    return None not in row and None not in row.values()


def read_table_text(path: Path) -> str:
    """Returns the whole lines of a CSV file, without the byte order mark that spreadsheets write.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is too large, or not text.
    """
    text = read_text(path, _MAX_BYTES).removeprefix("\ufeff")
    return text[: text.rfind("\n") + 1]
