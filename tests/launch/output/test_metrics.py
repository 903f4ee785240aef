from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from small_disk import enlarge, small_disk

from distpolicy.errors import DistPolicyError
from launch.output.metrics import RUN_COLUMNS, MetricsFile, read_rows


def write(folder: Path, updates: range, first_update: int = 1, **extra: Any) -> Path:
    table = MetricsFile(folder / "metrics.csv", first_update=first_update)
    for update in updates:
        table.write({"update": update, "env_steps": 100 * update, "entropy": update / 3, **extra})
    table.close()
    return folder / "metrics.csv"


def test_rows_are_written_with_every_column_and_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, range(1, 4))
    with open(path, newline="") as file:
        assert tuple(next(csv.reader(file))) == (*RUN_COLUMNS, "entropy")
    rows = read_rows(path)
    assert [row["update"] for row in rows] == ["1", "2", "3"]
    assert [row["env_steps"] for row in rows] == ["100", "200", "300"]
    assert [float(row["entropy"]) for row in rows] == pytest.approx([1 / 3, 2 / 3, 1], rel=1e-5)
    assert {row["return_mean_100"] for row in rows} == {""}


def test_large_counts_are_written_in_full(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, range(123456789, 123456790)))
    assert (row["update"], row["env_steps"]) == ("123456789", "12345678900")


def test_a_row_is_in_the_file_before_the_next_is_written(tmp_path: Path) -> None:
    table = MetricsFile(tmp_path / "metrics.csv")
    table.write({"update": 1, "env_steps": 100})
    assert len(read_rows(tmp_path / "metrics.csv")) == 1
    table.close()


def test_a_name_that_is_no_column_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    table = MetricsFile(tmp_path / "metrics.csv")
    table.write({"update": 1, "env_steps": 100, "entropy": 0.5})
    with pytest.raises(ValueError, match="entropi"):
        table.write({"update": 2, "env_steps": 200, "entropi": 1.0})
    table.close()
    assert [row["update"] for row in read_rows(tmp_path / "metrics.csv")] == ["1"]


def test_what_an_agent_measures_is_known_from_its_first_loss_on(tmp_path: Path) -> None:
    table = MetricsFile(tmp_path / "metrics.csv")
    table.write({"update": 1, "env_steps": 100})
    table.write({"update": 2, "env_steps": 200, "loss": 1.0, "td_error": 0.5})
    with pytest.raises(ValueError, match="q_mean"):
        table.write({"update": 3, "env_steps": 300, "loss": 1.0, "q_mean": 0.5})
    table.close()
    assert [row["td_error"] for row in read_rows(tmp_path / "metrics.csv")] == ["", "0.5"]


@pytest.mark.parametrize("first_update", [1, 3, 5, 6])
def test_a_resumed_run_drops_the_rows_that_it_writes_again(first_update: int, tmp_path: Path) -> None:
    write(tmp_path, range(1, 6))
    path = write(tmp_path, range(first_update, 8), first_update, clip_range=0.5)
    rows = read_rows(path)
    assert [int(row["update"]) for row in rows] == list(range(1, 8))
    assert [row["clip_range"] for row in rows] == [""] * (first_update - 1) + ["0.5"] * (8 - first_update)
    assert path.read_text().count("env_steps") == 1


@pytest.mark.parametrize("num_cut", [1, 2, 10, 20])
def test_a_last_line_that_was_cut_off_is_left_out(num_cut: int, tmp_path: Path) -> None:
    path = write(tmp_path, range(1, 4))
    data = path.read_bytes()
    assert data.endswith(b"\r\n")
    path.write_bytes(data[: -1 - num_cut])
    assert [row["update"] for row in read_rows(path)] == ["1", "2"]
    rows = read_rows(write(tmp_path, range(3, 5), first_update=3))
    assert [row["env_steps"] for row in rows] == ["100", "200", "300", "400"]


@pytest.mark.parametrize("content", ["", "update,env", "\n"])
def test_a_file_that_was_cut_off_in_its_header_has_no_rows(content: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(content)
    assert read_rows(tmp_path / "metrics.csv") == []
    assert len(read_rows(write(tmp_path, range(1, 3)))) == 2


def test_a_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "metrics.csv") == []


def test_columns_that_a_file_has_already_stay_with_their_values(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = MetricsFile(path, ["mine"])
    table.write({"update": 1, "env_steps": 100, "mine": 0.5})
    table.close()
    table = MetricsFile(path, ["other"], first_update=2)
    table.write({"update": 2, "env_steps": 200, "other": 0.25})
    table.close()
    assert [(row["mine"], row["other"]) for row in read_rows(path)] == [("0.5", ""), ("", "0.25")]


def test_a_disk_that_is_full_when_a_run_is_resumed_costs_no_row(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k") as disk:
        before = write(disk, range(1, 40)).read_bytes()
        other = disk / "other"
        with pytest.raises(OSError, match="No space"):
            other.write_bytes(bytes(100_000))
        with pytest.raises(DistPolicyError, match=r"metrics\.csv: No space left on device"):
            MetricsFile(disk / "metrics.csv", first_update=30)
        assert (disk / "metrics.csv").read_bytes() == before
        enlarge(disk, "1m")
        assert [int(row["update"]) for row in read_rows(write(disk, range(30, 50), 30))] == list(range(1, 50))
