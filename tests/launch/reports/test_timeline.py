"""Where the time of workers goes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from written_runs import write_run

from launch.reports.curves import TimeUnit
from launch.reports.groups import Group
from launch.reports.run_data import RunData, read_run
from launch.reports.timeline import time_shares, worker_timeline

COLUMNS = ("worker", "begin_s", "end_s", "env_s", "policy_s", "learn_s", "other_s", "wait_s")


def run_with(folder: Path, *rows: tuple[object, ...]) -> RunData:
    run = read_run(write_run(folder / "run", 2).path)
    times = [dict(zip(COLUMNS, map(str, row), strict=True)) for row in rows]
    return dataclasses.replace(run, worker_times=times)


def shares(run: RunData) -> list[dict[str, float]]:
    """What the parts of each stretch are, in the order of the stretches."""
    chart = worker_timeline(run, TimeUnit("seconds", 1.0))
    assert chart is not None
    table = chart.tables["stretches"]
    found: dict[float, dict[str, float]] = {}
    for begin, kind, share in zip(table["begin"], table["kind"], table["share"], strict=True):
        found.setdefault(begin, {})[kind] = share
    return list(found.values())


def test_a_wait_is_in_its_stretch_although_it_is_told_in_the_next_one(tmp_path: Path) -> None:
    rows = [
        ("learner", 0, 100, "", "", 10, "", 2),
        ("learner", 100, 101, "", "", 0.5, "", 88),
        ("learner", 101, 102, "", "", 3, "", 0),
    ]
    run = run_with(tmp_path, *rows)
    assert shares(run) == [
        {"learning": pytest.approx(0.1), "waiting": pytest.approx(0.9)},
        {"learning": pytest.approx(0.5), "waiting": pytest.approx(0.5)},
        {"learning": 1.0},
    ]


def test_many_collectors_are_shown_by_their_mean(tmp_path: Path) -> None:
    run = run_with(tmp_path, ("20 collectors", 0, 10, 80, 40, "", 20, 60))
    (found,) = shares(run)
    assert found == pytest.approx({"environment": 0.4, "inference": 0.2, "other": 0.1, "waiting": 0.3})


def test_a_stretch_in_which_nothing_is_told_is_left_out(tmp_path: Path) -> None:
    assert worker_timeline(run_with(tmp_path, ("learner", 5, 5, "", "", "", "", "")), TimeUnit("seconds", 1.0)) is None


def test_the_shares_of_groups_are_over_all_their_runs_and_collectors(tmp_path: Path) -> None:
    one = run_with(tmp_path / "one", ("learner", 0, 10, "", "", 4, "", 6), ("collector 0", 0, 10, 10, "", "", "", ""))
    two = run_with(tmp_path / "two", ("learner", 0, 10, "", "", 2, "", 8), ("collector 1", 0, 10, 5, "", "", "", 5))
    chart = time_shares([Group("both", (one, two))])
    assert chart is not None
    table = chart.tables["parts"]
    found = dict(zip(zip(table["label"], table["kind"], strict=True), table["share"], strict=True))
    assert found == {
        ("learner", "learning"): pytest.approx(0.3),
        ("learner", "waiting"): pytest.approx(0.7),
        ("collectors", "environment"): pytest.approx(0.75),
        ("collectors", "waiting"): pytest.approx(0.25),
    }
