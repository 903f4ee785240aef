"""Which settings a search calls the best: none of a trial that failed, and none of one that was stopped early."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from launch.config.train import TrainConfig, load_train_config
from launch.config.tune import TuneConfig
from launch.tuning.charts import charts
from launch.tuning.console import ConsoleObserver, results_table
from launch.tuning.journal import (
    FAILED,
    FINISHED,
    RUNNING,
    STOPPED,
    WAITING,
    TrialJournal,
    TrialRecord,
    TrialReport,
)
from launch.tuning.picture import write_picture
from launch.tuning.results import SearchResult, search_result
from launch.tuning.samplers import Sampler
from launch.tuning.searcher import TrialQueue

RATE = "ppo.learning-rate"
SEARCH = {RATE: "loguniform 1e-4 1e-2"}
TRAIN = TrainConfig(total_steps=2700)


def record(trial: int, state: str, score: float, steps: int = 2700, sample: int | None = None) -> TrialRecord:
    sample = trial if sample is None else sample
    reason = "training diverged" if state == FAILED else ""
    reports = [TrialReport(steps, score, 1.0)] if steps else []
    return TrialRecord(trial, sample, trial, {RATE: 1e-3 * (sample + 1)}, state, reason, reports)


def search(folder: Path, records: Sequence[TrialRecord], **config: Any) -> SearchResult:
    return search_result(TuneConfig(SEARCH, **config), TRAIN, records, folder, list(SEARCH))


def order(result: SearchResult) -> list[int]:
    return [sample.sample for sample in result.samples]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_finished_samples_come_first_then_those_that_went_further_and_failed_ones_last(
    mode: str, tmp_path: Path
) -> None:
    sign = 1.0 if mode == "max" else -1.0
    records = [
        record(0, FINISHED, sign * 140.0),
        record(1, FAILED, sign * 160.0, steps=1200),
        # A rollout of it is longer: it has ended as the others have.
        record(2, FINISHED, sign * 130.0, steps=3300),
        record(3, STOPPED, sign * 300.0, steps=300),
        record(4, STOPPED, sign * 200.0, steps=910),
        record(5, STOPPED, sign * 210.0, steps=900),
        record(6, STOPPED, math.nan, steps=300),
        record(7, FAILED, math.nan, steps=0),
    ]
    result = search(tmp_path, records, mode=mode)
    assert order(result) == [0, 2, 5, 4, 3, 6, 1, 7]
    result.write()
    assert load_train_config(result.best_file).agent.learning_rate == 1e-3  # type: ignore[attr-defined]
    with open(result.table_file, newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)][-2:] == [FAILED] * 2
    # The curve of what failed is still there to see.
    assert set(charts(result, result.config.check(TRAIN), {})[0].tables["reports"]["name"]) == {
        *("as given and best", FINISHED, STOPPED, FAILED)
    }


def test_while_a_search_goes_on_the_trials_that_are_further_are_better(tmp_path: Path) -> None:
    records = [record(0, RUNNING, 40.0, 900), record(1, WAITING, math.nan, 0), record(2, RUNNING, 90.0, 300)]
    assert order(search(tmp_path, records)) == [0, 2, 1]
    # All trials of a population end at the same steps.
    records = [record(trial, FINISHED, score) for trial, score in enumerate((10.0, 50.0, 30.0))]
    assert order(search(tmp_path, [*records, record(3, FAILED, 80.0)], scheduler="pbt")) == [1, 2, 0, 3]


def test_a_sample_is_not_the_best_if_one_of_its_seeds_failed(tmp_path: Path) -> None:
    records = [
        *(record(0, FINISHED, 100.0, sample=0), record(1, FINISHED, 120.0, sample=0)),
        *(record(2, FINISHED, 300.0, sample=1), record(3, FAILED, 280.0, 1200, sample=1)),
        *(record(4, FINISHED, 200.0, sample=2), record(5, STOPPED, 80.0, 300, sample=2)),
    ]
    result = search(tmp_path, records, seeds=2)
    assert order(result) == [2, 0, 1]
    curves = charts(result, result.config.check(TRAIN), {})[0]
    assert list(dict(curves.legend)) == [FAILED, "as given", "best"]


def test_without_a_best_sample_one_line_says_why_and_no_file_of_settings_is_left(tmp_path: Path) -> None:
    search(tmp_path, [record(0, FINISHED, 100.0)]).write()
    assert (tmp_path / "best.yaml").is_file()
    failed, unknown = record(0, FAILED, 160.0, 1200), record(1, FINISHED, math.nan)
    none = "there are no best settings: "
    for records, line in (
        # The error that ends the search says that all have failed.
        ([failed], results_table(search(tmp_path, [failed])).splitlines()[-1]),
        ([unknown], f"{none}no trial has a score"),
        ([failed, unknown], f"{none}all samples have a failed trial or no score"),
    ):
        result = search(tmp_path, records)
        result.write()
        assert result.best is None
        assert write_picture(result, result.config.check(TRAIN), {}) is None
        assert [path.name for path in tmp_path.iterdir()] == ["trials.csv"]
        console = Console(record=True, width=200)
        ConsoleObserver(console).on_end(result)
        assert console.export_text().splitlines()[-1] == line


class Told(Sampler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[float, float]] = {}

    def draw(self, sample: int) -> dict[str, Any]:
        raise AssertionError("nothing is drawn")

    def tell(self, sample: int, settings: Mapping[str, Any], score: float, turn: float = math.inf) -> None:
        self.found[sample] = (score, turn)


def test_the_sampler_is_told_that_a_trial_failed_or_was_stopped(tmp_path: Path) -> None:
    journal, told = TrialJournal(tmp_path / "trials.jsonl"), Told()
    outcomes = [(FINISHED, 140.0, 2700), (FAILED, 160.0, 1200), (STOPPED, 300.0, 310)]
    for trial, (state, score, steps) in enumerate(outcomes):
        journal.begin(trial, trial, 0, {RATE: 1e-3})
        journal.report(trial, TrialReport(steps, score, 1.0))
        if trial:
            journal.end(trial, state)
    queue = TrialQueue(TuneConfig(SEARCH, samples=3), TRAIN, journal, told, list(SEARCH))
    journal.end(0, FINISHED)
    queue.note_end(0)
    np.testing.assert_equal(told.found, {0: (140.0, math.inf), 1: (math.nan, 12), 2: (300.0, 3)})
    journal.close()
