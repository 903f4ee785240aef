from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_disk import enlarge, small_disk

from distpolicy.errors import DistPolicyError
from launch.output.metrics import RUN_COLUMNS, MetricsWriter, read_rows


def write(folder: Path, updates: range, first_update: int = 1, **extra: Any) -> Path:
    writer = MetricsWriter(folder, first_update)
    for update in updates:
        writer.write({"update": update, "env_steps": 100 * update, "entropy": update / 3, **extra})
    writer.close()
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
    writer = MetricsWriter(tmp_path)
    writer.write({"update": 1, "env_steps": 100})
    assert len(read_rows(tmp_path / "metrics.csv")) == 1
    writer.close()


def test_a_name_that_is_no_column_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path)
    writer.write({"update": 1, "env_steps": 100, "entropy": 0.5})
    with pytest.raises(ValueError, match="entropi"):
        writer.write({"update": 2, "env_steps": 200, "entropi": 1.0})
    writer.close()
    assert [row["update"] for row in read_rows(tmp_path / "metrics.csv")] == ["1"]


@pytest.mark.parametrize("first_update", [1, 3, 5, 6])
def test_a_resumed_run_drops_the_rows_that_it_writes_again(first_update: int, tmp_path: Path) -> None:
    write(tmp_path, range(1, 6))
    path = write(tmp_path, range(first_update, 8), first_update, steps_per_s=0.5)
    rows = read_rows(path)
    assert [int(row["update"]) for row in rows] == list(range(1, 8))
    assert [row["steps_per_s"] for row in rows] == [""] * (first_update - 1) + ["0.5"] * (8 - first_update)
    assert path.read_text().count("env_steps") == 1


@pytest.mark.parametrize("num_cut", [1, 2, 10, 25])
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


def events(path: Path) -> Iterator[Any]:
    """The TensorBoard events in a file, which has to be whole."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    data = path.read_bytes()
    while data:
        size = int.from_bytes(data[:8], "little")
        assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
        assert int.from_bytes(data[12 + size : 16 + size], "little") == masked_crc32c(data[12 : 12 + size])
        yield Event.FromString(data[12 : 12 + size])
        data = data[16 + size :]


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """Every scalar in the TensorBoard events: tag, step and value."""
    return [
        (value.tag, event.step, value.simple_value)
        for path in sorted(folder.glob("events.out.tfevents.*"))
        for event in events(path)
        for value in event.summary.value
    ]


def write_on(writer: MetricsWriter) -> None:
    for update in range(1, 10_000):
        writer.write({"update": update, "env_steps": 100 * update, **dict.fromkeys(RUN_COLUMNS[2:], 1 / 3)})


def test_a_full_disk_is_one_line_that_names_the_file_and_leaves_both_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k") as disk:
        writer = MetricsWriter(disk)
        with pytest.raises(
            DistPolicyError, match=rf"^cannot write {disk}/(metrics|events).*: No space left on device$"
        ):
            write_on(writer)
        writer.close()
        rows = read_rows(disk / "metrics.csv")
        assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
        assert (disk / "metrics.csv").read_bytes().endswith(b"\r\n")
        num_events = len({step for _, step, _ in scalars(disk)})  # reads to the end
        assert 10 < num_events <= len(rows) <= num_events + 1


def test_a_disk_that_is_full_when_a_run_is_resumed_costs_no_row(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k") as disk:
        before = write(disk, range(1, 40)).read_bytes()
        other = disk / "other"
        with pytest.raises(OSError, match="No space"):
            other.write_bytes(bytes(100_000))
        with pytest.raises(DistPolicyError, match=r"metrics\.csv: No space left on device"):
            MetricsWriter(disk, first_update=30)
        assert (disk / "metrics.csv").read_bytes() == before
        enlarge(disk, "1m")
        assert [int(row["update"]) for row in read_rows(write(disk, range(30, 50), 30))] == list(range(1, 50))


def test_tensorboard_has_the_same_figures_by_env_steps(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path)
    writer.write({"update": 1, "env_steps": 100, "entropy": 0.5, "policy_lag": np.float64(0.0)})
    writer.write({"update": 2, "env_steps": 200, "entropy": 0.25})
    writer.write_evaluation(200, [1.0, 2.0, 6.0])
    writer.close()
    assert sorted(scalars(tmp_path)) == [
        ("evaluation/return_mean", 200, 3.0),
        ("train/entropy", 100, 0.5),
        ("train/entropy", 200, 0.25),
        ("train/policy_lag", 100, 0.0),
    ]


def test_tensorboard_is_told_to_forget_what_a_resumed_run_writes_again(tmp_path: Path) -> None:
    write(tmp_path, range(1, 6))
    write(tmp_path, range(4, 7), first_update=4)
    first, second = (list(events(path)) for path in sorted(tmp_path.glob("events.out.tfevents.*")))
    assert [event.file_version for event in (first[0], second[0])] == ["brain.Event:2"] * 2
    assert not any(event.HasField("session_log") for event in first)
    assert (second[1].session_log.status, second[1].step) == (1, 301)  # SessionLog.START
    assert [event.step for event in second[2:]] == [400, 500, 600]
