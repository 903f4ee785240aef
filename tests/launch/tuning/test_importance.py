"""What mattered in a search, against SciPy's rank correlation, and the picture that shows it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from distpolicy.agents.ppo.config import PPOConfig
from launch.config.search_space import SearchSpace
from launch.config.setting_names import setting_text
from launch.config.train import TrainConfig
from launch.config.tune import TuneConfig
from launch.tuning.charts import charts
from launch.tuning.importance import importances
from launch.tuning.journal import FAILED, FINISHED, STOPPED, WAITING, TrialRecord, TrialReport
from launch.tuning.page import page_text
from launch.tuning.picture import write_picture
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


def test_failed_samples_say_nothing_and_stopped_ones_rank_below_those_that_went_on(tmp_path: Path) -> None:
    result = found(tmp_path, 20, early=8)
    failed = TrialRecord(20, 20, 0, SPACE.draw(np.random.default_rng(7)), FAILED, reports=[TrialReport(2700, 999.0, 1)])
    more = search_result(CONFIG, TRAIN, [failed, *result.records], tmp_path, list(SEARCH))
    assert importances(more, SPACE) == importances(result, SPACE)
    order = list(reversed(result.samples))
    rates = [sample.settings["ppo.learning-rate"] for sample in order]
    assert [sample.state for sample in order] == [STOPPED] * 8 + [FINISHED] * 12
    assert importances(more, SPACE)["ppo.learning-rate"] == pytest.approx(
        abs(spearmanr(rates, range(20)).statistic), abs=1e-9
    )


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
    trials, mattered, *panels = charts(result, SPACE, importances(result, SPACE))
    assert len(set(trials.tables["reports"]["trial"])) == 12
    assert set(mattered.tables["strengths"]["setting"]) == {panel.title for panel in panels} == set(SEARCH)
    path = write_picture(result, SPACE, importances(result, SPACE))
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "search.html").read_text()
    assert "https://cdn" not in page, "it needs no network"
    assert "prefers-color-scheme" in page
    assert page.count("data-chart=") == 5


@pytest.mark.slow
def test_settings_that_no_axis_or_rank_fits_are_left_out(tmp_path: Path) -> None:
    train = TrainConfig(agent=PPOConfig(entropy_weight=0.0))
    search = {"network.actor-units": "choice 8,8 64,64", "ppo.entropy-weight": "loguniform 1e-8 1e-1"}
    space = SearchSpace({**search, "min-collectors": "int 1 2"}, train)
    settings = [{"network.actor-units": [16, 16], "ppo.entropy-weight": 0.0, "min-collectors": None}]
    for trial in range(1, 9):
        units, weight = [[8, 8], [64, 64]][trial % 2], 10.0**-trial
        settings.append({"network.actor-units": units, "ppo.entropy-weight": weight, "min-collectors": trial % 2 + 1})
    records = [
        TrialRecord(trial, trial, 0, values, FINISHED, reports=[TrialReport(100, float(trial), 1.0)])
        for trial, values in enumerate(settings)
    ]
    result = search_result(
        TuneConfig({**search, "min-collectors": "int 1 2"}), train, records, tmp_path, list(space.domains)
    )
    strengths = importances(result, space)
    assert set(strengths) == set(space.domains)
    sizes = {panel.title: len(panel.tables["samples"]["value"]) for panel in charts(result, space, strengths)[2:]}
    assert sizes == {"network.actor-units": 9, "ppo.entropy-weight": 8, "min-collectors": 8}
    assert write_picture(result, space, strengths) is not None


def test_the_legend_names_the_settings_as_given_also_where_they_are_the_best(tmp_path: Path) -> None:
    legends = {}
    for best in (0, 1):
        records = [
            TrialRecord(trial, trial, 0, SPACE.draw(np.random.default_rng(trial)), state, reports=[report])
            for trial, state in enumerate((FINISHED, FINISHED, FINISHED, STOPPED, FAILED, WAITING))
            for report in [TrialReport(100, 50.0 if trial == best else float(trial), 1.0)]
        ]
        result = search_result(CONFIG, TRAIN, records, tmp_path, list(SEARCH))
        curves = charts(result, SPACE, {})[0]
        legends[best] = dict(curves.legend)
        assert set(legends[best]) == set(curves.tables["reports"]["name"])
        assert curves.spec["encoding"]["color"]["scale"]["domain"] == list(legends[best])
    others = {"failed": "--alert", "stopped": "--faint", "unfinished": "--run2", "finished": "--muted"}
    assert legends[0] == {**others, "as given and best": "--run1"}
    assert legends[1] == {**others, "as given": "--run0", "best": "--run1"}


def test_the_page_has_the_best_settings_their_command_and_a_table_of_all_trials(tmp_path: Path) -> None:
    result = found(tmp_path, 8, early=2)
    result.write()
    text = page_text(result, SPACE, {})
    assert f"distpolicy train --config {tmp_path}/best.yaml --seed 1</pre>" in text
    assert result.best is not None
    for name, value in result.best.settings.items():
        assert f"<td class=key>{name}</td><td class=value>{setting_text(value)}</td>" in text
    (rows,) = re.findall(r"<section><h2>Trials</h2>.*?<tbody>(.*?)</tbody>", text)
    assert rows.count("<tr>") == 8
    assert rows.count("<td>stopped</td>") == 2
    assert "6 finished, 2 stopped" in text
    # Settings that the search began from are told apart from others, and so is a search without any better ones.
    records = [TrialRecord(0, 0, 0, result.settings_as_given, FINISHED, reports=[TrialReport(100, 1.0, 1.0)])]
    alone = page_text(search_result(CONFIG, TRAIN, records, tmp_path, list(SEARCH)), SPACE, {})
    assert "<th>as given and best</th>" in alone
    assert "<td>as given</td><td class=n>1.000</td>" in alone


def test_without_a_score_there_is_no_picture(tmp_path: Path) -> None:
    record = TrialRecord(0, 0, 0, SPACE.draw(np.random.default_rng(0)))
    result = search_result(CONFIG, TRAIN, [record], tmp_path, list(SEARCH))
    assert result.best is None
    assert write_picture(result, SPACE, {}) is None


def test_labels_of_sizes_are_close_where_the_axis_is_short_and_no_point_is_on_an_axis(tmp_path: Path) -> None:
    labels = {}
    for rates in ((4e-4, 8e-4, 2.4e-3), (1e-4, 1e-3, 1e-2), (1.2e-3, 1.5e-3, 1.8e-3)):
        records = [
            TrialRecord(
                *(trial, trial, 0, {**SPACE.draw(np.random.default_rng(trial)), "ppo.learning-rate": rate}, FINISHED),
                reports=[TrialReport(2700, float(trial), 1.0)],
            )
            for trial, rate in enumerate(rates)
        ]
        result = search_result(CONFIG, TRAIN, records, tmp_path, list(SEARCH))
        curves, rate, *panels = charts(result, SPACE, {})
        labels[rates] = rate.spec["encoding"]["x"]["axis"].get("values")
        for chart in (curves, rate, *panels):
            assert chart.spec["encoding"]["y"]["scale"]["padding"] > 0
    # Between ends that are this near, those that Vega finds by itself.
    assert list(labels.values()) == [[5e-4, 1e-3, 2e-3], [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], None]
