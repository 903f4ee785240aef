"""A metrics.csv that was cut or changed before a run goes on."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from distpolicy.errors import DistPolicyError, DistPolicyWarning
from launch.output.metrics import MetricsFile, read_rows


def write(path: Path, updates: range, first_update: int = 1) -> None:
    table = MetricsFile(path, first_update=first_update)
    for update in updates:
        table.write({"update": update, "env_steps": 100 * update, "loss": update / 3})
    table.close()


def steps(path: Path) -> list[tuple[str, str]]:
    return [(row["update"], row["env_steps"]) for row in read_rows(path)]


def expected(missing: set[int], last: int) -> list[tuple[str, str]]:
    return [(str(update), "" if update in missing else str(100 * update)) for update in range(1, last + 1)]


def lines_without(numbers: range) -> Callable[[str], str]:
    """Cuts lines out; line 0 is the header."""
    return lambda text: "".join(
        line for number, line in enumerate(text.splitlines(keepends=True)) if number not in numbers
    )


@pytest.mark.parametrize(
    ("change", "missing", "told"),
    [
        (lines_without(range(3, 6)), {3, 4, 5}, "lacks 3 of 8 updates, from 3 to 5"),
        (lines_without(range(1, 2)), {1}, "lacks 1 of 8 updates, from 1 to 1"),
        (lines_without(range(7, 9)), {7, 8}, "lacks 2 of 8"),
        (lambda text: text[: len(text) // 2] + text[len(text) // 2 + 40 :], None, "lacks"),
        (lambda text: text.replace("400,", "4x0,"), {4}, "lacks 1 of 8"),
        (lambda text: text.replace("\n4,", "\nnan,"), {4}, "lacks 1 of 8"),
        (lambda text: text.replace("\n4,", "\n97,"), {4}, "lacks 1 of 8"),
        (lambda text: text.replace("400,", "400,5,"), {4}, "lacks 1 of 8"),
    ],
)
def test_missing_and_damaged_rows_are_told_and_marked(
    change: Callable[[str], str], missing: set[int] | None, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.csv"
    write(path, range(1, 9))
    path.write_bytes(change(path.read_bytes().decode()).encode())
    with pytest.warns(DistPolicyWarning, match=rf"metrics\.csv {told}"):
        write(path, range(9, 11), first_update=9)
    if missing is not None:
        assert steps(path) == expected(missing, 10)
    assert [update for update, _ in steps(path)] == [str(update) for update in range(1, 11)]
    with warnings.catch_warnings():  # It is told once.
        warnings.simplefilter("error")
        write(path, range(11, 12), first_update=11)


@pytest.mark.parametrize("kind", ["fifo", "huge", "folder", "binary"])
def test_a_file_that_cannot_be_read_is_named_in_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"update\n\xff\x00\n")
        if kind == "huge":
            os.truncate(path, 40 * 2**30)
    with pytest.raises(DistPolicyError, match=rf"^cannot read {path}: [^\n]*$"):
        MetricsFile(path, first_update=5)
