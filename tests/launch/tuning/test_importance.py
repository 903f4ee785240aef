"""What mattered in a search, against SciPy's rank correlation, and the picture that shows it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from launch.config.train import TrainConfig
from launch.config.tune import TuneConfig
from launch.tuning.importance import importances
from launch.tuning.journal import FINISHED, STOPPED, TrialRecord, TrialReport
from launch.tuning.picture import picture, write_picture
from launch.tuning.results import SearchResult, search_result

SEARCH = {
    "ppo.learning-rate": "loguniform 1e-4 1e-2",
    "ppo.num-epochs": "choice 4 8 16",
    "ppo.gae-lambda": "uniform 0.8 1.0",
}
CONFIG, TRAIN = TuneConfig(SEARCH), TrainConfig(total_steps=2700)
SPACE = CONFIG.check(TRAIN)


def found(folder: Path, count: int, config: TuneConfig = CONFIG, early: int = 0) -> SearchResult:
    """A search whose scores follow the epochs, and a little the learning rate."""
    random = np.random.default_rng(1)
    records = []
    for trial in range(count):
        settings = SPACE.draw(random)
        score = {4: 0.0, 8: 200.0, 16: 100.0}[settings["ppo.num-epochs"]] + 20 * math.log10(
            settings["ppo.learning-rate"]
        )
        ends = trial < early
        reports = [TrialReport(100 * (turn + 1), score + turn, 0.1 * turn) for turn in range(9 if ends else 27)]
        records.append(TrialRecord(trial, trial, 0, settings, STOPPED if ends else FINISHED, reports=reports))
    return search_result(config, TRAIN, records, folder, list(SEARCH))


def test_a_number_has_the_rank_correlation_and_what_does_not_matter_is_last(tmp_path: Path) -> None:
    result = found(tmp_path, 60)
    strengths = importances(result, SPACE)
    assert next(iter(strengths)) == "ppo.num-epochs"
    assert strengths["ppo.num-epochs"] > 0.9
    for name in ("ppo.learning-rate", "ppo.gae-lambda"):
        values = [sample.settings[name] for sample in result.samples]
        expected = abs(spearmanr(values, [sample.score for sample in result.samples]).statistic)
        assert strengths[name] == pytest.approx(expected, abs=1e-9)


def test_stopped_samples_rank_below_those_that_went_on(tmp_path: Path) -> None:
    from launch.tuning.importance import order_of_merit

    result = found(tmp_path, 20, early=8)
    ranks = order_of_merit(result, result.samples)
    stopped = [rank for rank, sample in zip(ranks, result.samples, strict=True) if sample.state == STOPPED]
    assert max(stopped) < min(set(ranks) - set(stopped))


def test_few_samples_say_nothing(tmp_path: Path) -> None:
    assert importances(found(tmp_path, 5), SPACE) == {}


def test_the_best_is_first_by_the_mode(tmp_path: Path) -> None:
    most = found(tmp_path, 12)
    least = found(tmp_path, 12, TuneConfig(SEARCH, mode="min"))
    assert most.best is not None
    assert least.best is not None
    assert most.best.score == max(sample.score for sample in most.samples)
    assert least.best.score == min(sample.score for sample in least.samples)


@pytest.mark.slow
def test_the_picture_shows_every_trial_and_setting(tmp_path: Path) -> None:
    result = found(tmp_path, 12)
    spec = picture(result, SPACE, importances(result, SPACE))
    assert len({row["trial"] for row in spec["vconcat"][0]["hconcat"][0]["data"]["values"]}) == 12
    panels = [panel for row in spec["vconcat"][1:] for panel in row["hconcat"]]
    assert {panel["encoding"]["x"]["title"] for panel in panels} == set(SEARCH)
    path = write_picture(result, SPACE, importances(result, SPACE))
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "search.html").read_text()
    assert "https://cdn" not in page  # It needs no network.


def test_without_a_score_there_is_no_picture(tmp_path: Path) -> None:
    record = TrialRecord(0, 0, 0, SPACE.draw(np.random.default_rng(0)))
    result = search_result(CONFIG, TRAIN, [record], tmp_path, list(SEARCH))
    assert result.best is None
    assert write_picture(result, SPACE, {}) is None
