"""GrowingTable: a CSV file to which rows are appended, and which a resumed run continues."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distpolicy.errors import DistPolicyError
from distpolicy.utils.atomic_files import GrowingFile
from distpolicy.utils.files.bounded_files import read_text

_MAX_BYTES = 2**30


class GrowingTable:
    """A table in a CSV file. The file is made with the first row, or if an earlier one has to be cut.

    Args:
        path: The file.
        columns: Names of the columns. An earlier file with others is replaced.
        keeps: Returns True for the rows of an earlier file that stay.

    Raises:
        DistPolicyError: If the file cannot be read or written; :meth:`add` raises it, too.
    """

    def __init__(self, path: Path, columns: Sequence[str], keeps: Callable[[Mapping[str, str]], bool]) -> None:
        self._path, self._columns = path, tuple(columns)
        before = [row for row in read_table(path) if set(row) == set(columns)]
        kept = [row for row in before if _is_kept(row, keeps)]
        self._file = GrowingFile(path, self._text(kept)) if path.exists() else None

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
        table = csv.DictWriter(text, self._columns)
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()


def _is_kept(row: Mapping[str, str], keeps: Callable[[Mapping[str, str]], bool]) -> bool:
    """Returns True for rows that stay; a row with a damaged number goes."""
    try:
        return keeps(row)
    except ValueError:
        return False


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def read_table(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file, without a last line that a crash has cut off, and without incomplete rows.

    Raises:
        DistPolicyError: If the file cannot be read.
    """
    if not path.is_file():
        return []
    try:
        text = read_text(path, _MAX_BYTES)
        rows = list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))
    except (OSError, ValueError, csv.Error) as error:
        raise DistPolicyError(f"cannot read {path}: {error}; move it away to go on without it") from error
    return [row for row in rows if None not in row and None not in row.values()]
