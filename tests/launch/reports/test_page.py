"""What is on a report's page, without a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_runs import STEPS, change_record, write_run

from distpolicy.agents.ppo.config import PPOConfig
from launch.config.train import TrainConfig
from launch.output.run_directory import RunDirectory
from launch.reports.charts import SCHEMA
from launch.reports.groups import grouped
from launch.reports.page_writer import page_text
from launch.reports.run_data import read_run
from launch.supervision.faults import FaultTable, RunFault

VOID = {"meta"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects texts and tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)


def page_of(*paths: Path, by: str | None = None) -> str:
    return page_text(grouped([read_run(path) for path in paths], by))


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r"<script type='application/json' id=data>(.*?)</script>", text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def chart(text: str, title: str) -> dict[str, Any]:
    (found,) = (one for one in data_of(text)["charts"] if one["title"] == title)
    return found


def test_a_page_is_html_that_needs_no_other_file_and_no_network(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run").path)
    assert text.startswith("<!doctype html>")
    page = Page(text)
    assert not {"link", "img", "iframe", "object", "svg"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert any(value is not None and value.startswith("default-src 'none'") for _, value in page.attributes)
    assert page.tags.count("script") == 3
    assert len(text) < 1_500_000


def test_the_head_of_a_page_says_what_was_run_and_what_came_out(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run", num_faults=1).path)
    page = Page(text)
    assert "CartPole-v1" in page.texts["h1"]
    assert "ended" in page.texts["span"]
    assert any("ppo · seed 3 · run" in item for item in page.texts["p"])
    tiles = dict(re.findall(r"<div class=name>(.*?)</div><div class=value>(.*?)</div>", text))
    assert tiles["Return, evaluated"] == "400.0"
    assert "± 5.0 (95 %), target 475" in page.texts["div"]
    assert tiles["Env steps"] == f"{40 * STEPS:,}"
    assert tiles["Training"] == "1 min 20 s"
    assert tiles["Mean speed"] == "64 /s"
    assert tiles["Faults"] == "1"


def test_an_evaluation_that_has_solved_a_run_counts_to_its_training(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    change_record(run, end={"state": "solved", "train_s": 100.0})
    assert "<div class=name>Training</div><div class=value>1 min 40 s</div>" in page_of(run.path)
    other = write_run(tmp_path / "other", ends=False).path
    assert page_of(run.path, other).count("<td class=n>1 min 40 s</td>") == 1
    assert page_of(run.path, other).count("<td class=n>1 min 30 s</td>") == 1, "the mean of both"


def test_every_column_with_figures_has_a_chart_and_no_other(tmp_path: Path) -> None:
    more = {"info/is_success": 0.5, "lag_rows/0": 96.0, "lag_rows/1": 32.0, "policy_lag_mean": 0.25}
    text = page_of(write_run(tmp_path / "run", more=more).path)
    titles = [one["title"] for one in data_of(text)["charts"]]
    assert titles[:2] == ["Return", "Episode length"]
    wanted = {"is_success", "Loss", "Entropy of the policy", "Env steps a second", "Where the time goes"}
    wanted |= {"Policy lag of the rows learned from", "Mean policy lag", "From new weights to acting by them"}
    assert wanted <= set(titles)
    assert "KL divergence of an update" not in titles, "the column has no figures"
    assert len(titles) == len(set(titles)) == text.count("data-chart=")


def test_the_learning_curve_has_the_rows_of_the_file(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run", num_faults=2).path)
    tables = chart(text, "Return")["tables"]
    assert tables["main"]["steps"] == [STEPS * update for update in range(1, 41)]
    assert tables["main"]["time"] == [2.0 * update for update in range(1, 41)]
    assert tables["main"]["y"] == pytest.approx(np.linspace(10.0, 400.0, 40), rel=1e-5)
    assert tables["faint"]["y"] == pytest.approx(np.linspace(15.0, 405.0, 40), rel=1e-5)
    assert tables["target"] == {"target": [475.0]}
    (evaluated,) = tables["points"]["y"]
    assert (evaluated, tables["points"]["low"][0]) == pytest.approx((400.0, 400.0 - 4.303 * 2 / 3**0.5), rel=1e-5)
    assert tables["marks"]["steps"] == [13 * STEPS, 26 * STEPS]
    assert tables["marks"]["what"][0] == "collector 0: a <b>broken</b> machine"


def test_a_lost_learner_is_marked_when_it_was_noticed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    # Its last checkpoint was of update 20, after 40 s.
    FaultTable(run.faults_file).add(RunFault("learner", "it was killed", recovery_s=2.5), 26, 26 * STEPS, 53.5)
    text = page_of(run.path)
    marks = chart(text, "Return")["tables"]["marks"]
    assert marks == {"steps": [26 * STEPS], "time": [53.5], "what": ["learner: it was killed"]}
    assert "<td>53.5 s</td><td>learner</td>" in text


def test_faults_of_an_earlier_version_are_told_without_their_times(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    run.faults_file.write_text("time,update,what,reason,env_steps_lost,recovery_s\n1000,3,learner,killed,64,2.5\n")
    text = page_of(run.path)
    assert "marks" not in chart(text, "Return")["tables"]
    assert "<td>-</td><td>learner</td><td>killed</td>" in text


def test_where_the_time_goes_adds_up_for_each_worker(tmp_path: Path) -> None:
    table = chart(page_of(write_run(tmp_path / "run").path), "Where the time goes")["tables"]["stretches"]
    assert list(dict.fromkeys(table["worker"])) == ["learner", "collector 0", "collector 1"]
    shares: dict[tuple[str, str], float] = dict(
        zip(zip(table["worker"], table["kind"], strict=True), table["share"], strict=True)
    )
    assert shares["collector 0", "environment"] == pytest.approx(0.25)
    assert shares["collector 0", "inference"] == pytest.approx(0.15)
    assert shares["collector 0", "other"] == pytest.approx(0.1)
    assert shares["collector 1", "waiting"] == pytest.approx(0.5)
    assert shares["learner", "learning"] == pytest.approx(0.2)


def test_settings_that_differ_from_the_preset_are_marked(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run", config=TrainConfig(collectors=3, seed=9)).path)
    changed = re.findall(r"<tr class=changed><td class=key>(.*?)</td><td class=value>(.*?)</td>", text)
    assert ("collectors", "3") in changed
    assert ("seed", "9") in changed
    assert "envs_per_collector" not in dict(changed)
    assert "envs_per_collector: 32" in text


def test_settings_of_a_group_are_those_of_all_its_runs(tmp_path: Path) -> None:
    configs = [
        TrainConfig(seed=seed, collectors=3, envs_per_collector=envs, rollout_steps=16 * (seed + 1), agent=agent)
        for seed, (envs, agent) in enumerate(
            [(32, PPOConfig()), (16, PPOConfig(learning_rate=0.002)), (32, PPOConfig()), (16, PPOConfig())]
        )
    ]
    runs = [write_run(tmp_path / f"run{config.seed}", 5, config).path for config in configs]
    text = page_of(*runs, by="agent")
    changed = dict(re.findall(r"<tr class=changed><td class=key>(.*?)</td><td class=value>(.*?)</td>", text))
    assert changed["collectors"] == "3"
    assert changed["envs_per_collector"] == "32, 16"
    assert changed["ppo.learning_rate"] == "0.0003, 0.002"
    assert changed["rollout_steps"] == "differs"
    assert "seed" not in changed
    assert "<th>these runs</th><th>preset cartpole-ppo</th>" in text
    assert "\nenvs_per_collector: 32, 16\n" in text
    assert "\n  learning_rate: 0.0003, 0.002\n" in text


def test_what_a_resume_has_changed_stands_beside_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5)
    (start,) = json.loads(run.record_file.read_text())["starts"]
    changed = {"total_steps": [5, 7], "network.actor_units": [[8, 8], [16, 16]]}
    change_record(run, starts=[start, {**start, "changed": changed}])
    told = "total_steps 7 instead of 5, network.actor_units 16 16 instead of 8 8"
    assert re.search(rf"resumed on [^<]* with {told}<", page_of(run.path))


def test_the_origin_of_a_run_is_told(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run").path)
    rows = dict(re.findall(r"<tr><th>(.*?)</th><td>(.*?)</td></tr>", text))
    assert "tensorflow 2." in rows["versions"]
    assert "CPUs" in rows["machine"]
    assert rows["compiling the update"] == "1.5 s"


def test_a_command_takes_as_long_as_its_process_and_not_from_the_first_env_step_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5)
    record = json.loads(run.record_file.read_text())
    (start,) = record["starts"]
    start |= {"command": "distpolicy train", "process_time": record["end"]["time"] - 12.5}
    change_record(run, starts=[start])
    assert "12.5 s from the command on" in page_of(run.path)
    # A script or a notebook may have done something else before.
    for changed in ([{**start, "command": "python train.py"}], [start, start]):
        change_record(run, starts=changed)
        assert "from the command on" not in page_of(run.path)


def test_texts_of_runs_cannot_become_markup(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run", num_faults=1, more={"info/</script><b>": 1.0}).path)
    assert "<b>" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert Page(text).tags.count("script") == 3


@pytest.mark.parametrize("num_updates", [0, 1])
def test_a_run_that_has_hardly_begun_has_a_page(num_updates: int, tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run", num_updates, ends=False).path)
    Page(text)
    assert "running" in text
    assert len(data_of(text)["charts"]) == (0 if num_updates == 0 else text.count("data-chart="))


def test_a_run_that_no_return_ends_has_a_page_without_a_target(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5)
    run.config_file.write_text(run.config_file.read_text().replace("target_return: 475.0", "target_return: .inf"))
    text = page_of(run.path)
    assert "target" not in chart(text, "Return")["tables"]


def test_a_damaged_row_of_times_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5)
    lines = run.worker_times_file.read_text().splitlines(keepends=True)
    run.worker_times_file.write_text(lines[0] + lines[1].replace("learner,0,", "learner,zero,") + "".join(lines[2:]))
    table = chart(page_of(run.path), "Where the time goes")["tables"]["stretches"]
    assert None not in table["begin"]
    assert "collector 0" in table["worker"]


def test_the_state_in_a_record_cannot_become_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5)
    change_record(run, end={"state": "<b>solved</b>"})
    assert "<b>" not in re.sub(r"<script.*?</script>", "", page_of(run.path), flags=re.DOTALL)


def test_runs_that_count_different_steps_have_an_axis_that_fits_both(tmp_path: Path) -> None:
    online = write_run(tmp_path / "online", 5, TrainConfig(seed=1)).path
    offline = write_run(tmp_path / "offline", 5, TrainConfig(seed=1)).path
    settings = (offline / "config.yaml").read_text()
    (offline / "config.yaml").write_text(settings.replace("dataset: []", "dataset: [poles]"))
    assert data_of(page_of(online, offline))["axes"]["steps"] == "steps"
    assert data_of(page_of(online))["axes"]["steps"] == "env steps"
    assert data_of(page_of(offline))["axes"]["steps"] == "gradient steps"


def test_lags_stand_in_their_order_whatever_the_first_group_has(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / f"run{steps}", 5, TrainConfig(rollout_steps=steps), more=more).path
        for steps, more in ((16, {"lag_rows/0": 1.0, "lag_rows/10": 1.0}), (32, {"lag_rows/2": 1.0}))
    ]
    found = chart(page_of(*paths), "Policy lag of the rows learned from")["spec"]["encoding"]["x"]
    assert found["sort"] == ["0", "2", "10"]


def test_runs_that_differ_by_their_seed_are_shown_with_their_mean(tmp_path: Path) -> None:
    paths = []
    for seed, offset in enumerate((0.0, 10.0, 20.0)):
        config, returns = TrainConfig(seed=seed), np.linspace(0.0, 100.0, 30) + offset
        paths.append(write_run(tmp_path / f"seed{seed}", 30, config, returns).path)
    text = page_of(*paths)
    tables = chart(text, "Return")["tables"]
    assert set(tables["faint"]["run"]) == {"seed0", "seed1", "seed2"}
    by_steps = [
        (steps, y, high - y)
        for steps, y, high in zip(*(tables["main"][name] for name in ("steps", "y", "high")), strict=True)
        if steps is not None
    ]
    assert by_steps[0][:2] == (STEPS, 10.0)
    assert by_steps[-1][:2] == (30 * STEPS, 110.0)
    # Student's t with two degrees of freedom: 4.303 · 10 / √3.
    assert by_steps[0][2] == pytest.approx(24.84, abs=0.02)
    assert "ppo (3 runs)" in text


def test_the_wide_interval_of_two_runs_neither_flattens_the_curves_nor_goes_below_zero(tmp_path: Path) -> None:
    paths = []
    for seed in (0, 1):
        returns, more = np.linspace(0.0, 100.0, 30) + 10.0 * seed, {"steps_per_s": 1000.0 + 200.0 * seed}
        paths.append(write_run(tmp_path / f"seed{seed}", 30, TrainConfig(seed=seed), returns, more).path)
    text = page_of(*paths)
    band = chart(text, "Return")["tables"]["band"]
    # Student's t with one degree of freedom: 12.7 · 5 on either side of the mean, 5 to 105.
    assert band["high"][0] == pytest.approx(68.5, abs=0.2)
    # The curves are from 0 to 110; the interval is shown for half as much beyond them.
    assert min(band["low"]) == pytest.approx(-55.0)
    assert max(band["high"]) == pytest.approx(165.0)
    speed = chart(text, "Env steps a second")["tables"]["band"]
    assert (min(speed["low"]), max(speed["high"])) == (0.0, pytest.approx(1300.0))
    assert "<td class=n>2</td><td class=n>2</td>" in text, "runs and seeds"
    again = write_run(tmp_path / "again", 30, TrainConfig(seed=1)).path
    assert "<td class=n>3</td><td class=n>2</td>" in page_of(*paths, again), "a repeated seed is none more"


def test_a_run_with_a_single_evaluation_is_a_point_beside_the_curve_of_another(tmp_path: Path) -> None:
    many = write_run(tmp_path / "many", 12, TrainConfig(seed=0), more={"eval_return_mean": 50.0})
    one = write_run(tmp_path / "one", 12, TrainConfig(seed=0, rollout_steps=16))
    lines = one.metrics_file.read_text().splitlines()
    column = lines[0].split(",").index("eval_return_mean")
    last = lines[-1].split(",")
    last[column] = "70.0"
    one.metrics_file.write_text("\n".join([*lines[:-1], ",".join(last)]) + "\n")
    tables = chart(page_of(many.path, one.path), "Return, evaluated")["tables"]
    assert tables["points"]["y"] == [70.0]
    assert set(tables["main"]["y"]) == {50.0, 70.0}


def three_runs(folder: Path) -> list[Path]:
    """Asynchronous runs of two groups, with evaluations on the way, faults, and a resumed one."""
    paths = []
    for number, steps in enumerate((16, 16, 32)):
        more = {"eval_return_mean": 50.0, "lag_rows/0": 96.0, "lag_rows/1": 32.0 * (number + 1)}
        config = TrainConfig(seed=number, rollout_steps=steps)
        run = write_run(folder / f"run{number}", 12, config, more=more, num_faults=number)
        paths.append(run.path)
    start = json.loads((paths[0] / "run.json").read_text())["starts"][0]
    change_record(RunDirectory(paths[0]), starts=[start, {**start, "train_s": 8.0, "updates": 4, "command": "again"}])
    return paths


def test_the_page_of_several_runs_has_what_each_of_them_has(tmp_path: Path) -> None:
    text = page_of(*three_runs(tmp_path))
    Page(text)
    titles = [one["title"] for one in data_of(text)["charts"]]
    wanted = {"Return", "Return, evaluated", "Env steps a second of the environments alone", "Where the time goes"}
    assert wanted | {"Policy lag of the rows learned from", "Episode length", "Loss"} <= set(titles)
    marks = chart(text, "Return")["tables"]["marks"]
    assert sorted(marks["what"]) == [
        "run0: resumed",
        *["run1: collector 0: a <b>broken</b> machine"],
        *[f"run2: collector {index}: a <b>broken</b> machine" for index in (0, 1)],
    ]
    assert marks["time"][0] == 8.0
    lags = chart(text, "Policy lag of the rows learned from")["tables"]["bars"]
    shares = dict(zip(zip(lags["name"], lags["label"], strict=True), lags["share"], strict=True))
    # 96 rows of lag 0 beside 32 or 64 of lag 1 in each update of the first group, beside 96 in the second.
    assert shares["rollout_steps 16", "1"] == pytest.approx(96 / (2 * 96 + 96), rel=1e-5)
    assert shares["rollout_steps 32", "1"] == pytest.approx(0.5)
    parts = chart(text, "Where the time goes")["tables"]["parts"]
    found = dict(zip(zip(parts["label"], parts["kind"], strict=True), parts["share"], strict=True))
    assert found["rollout_steps 16: collectors", "environment"] == pytest.approx(0.25)
    assert found["rollout_steps 32: learner", "learning"] == pytest.approx(0.2)
    assert "<h2>Faults and restarts</h2>" in text
    assert "again</pre>" in text, "the commands"
    assert text.count("<th>machine</th>") == text.count("<th>versions</th>") == 1, "all had the same"
    assert text.count("<td class=key>seed</td>") == 1, "the runs of the first group differ by it"


def test_long_names_of_groups_are_whole_where_the_time_goes(tmp_path: Path) -> None:
    import vl_convert

    runs = [
        write_run(tmp_path / str(steps), 5, TrainConfig(rollout_steps=steps, collectors=count, total_steps=640 * steps))
        for steps, count in ((16, 1), (128, 2))
    ]
    found = chart(page_of(*(run.path for run in runs)), "Where the time goes")
    table = found["tables"]["parts"]
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    spec = {**found["spec"], "$schema": SCHEMA, "datasets": {"parts": rows}, "width": 900, "height": found["height"]}
    drawn = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    assert ">collectors 2 · rollout_steps 128 · total_steps 81920: collectors</text>" in drawn


def test_a_point_of_each_run_of_a_group_can_be_shown(tmp_path: Path) -> None:
    hovered = chart(page_of(*three_runs(tmp_path)), "Return")["spec"]["layer"][-1]
    assert hovered["data"] == {"name": "curves"}
    assert {"field": "run", "title": "run"} in hovered["encoding"]["tooltip"]


def test_very_many_faults_are_a_few_lines_and_rows(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run", 400, num_faults=300).path)
    found = chart(text, "Return")["tables"]["marks"]["what"]
    assert 30 <= len(found) <= 40
    assert found[0].endswith("a <b>broken</b> machine (and 6 more)")
    assert text.count("machine</td>") == 60
    assert "240 more, in faults.csv" in text


def test_a_value_that_never_changes_has_an_axis_around_it(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "run", 20, more={"learning_rate": 3e-4}).path)
    scale = chart(text, "Learning rate")["spec"]["layer"][0]["encoding"]["y"]["scale"]
    assert scale["domain"] == pytest.approx([1.5e-4, 4.5e-4])
    assert "domain" not in chart(text, "Loss")["spec"]["layer"][0]["encoding"]["y"]["scale"]


def test_what_workers_wait_for_at_a_start_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 12, more={"sync_s": 0.5})
    (start,) = json.loads(run.record_file.read_text())["starts"]
    change_record(run, starts=[start, {**start, "updates": 6}])
    synced = chart(page_of(run.path), "From new weights to acting by them")["tables"]["faint"]
    assert synced["steps"] == [STEPS * update for update in range(1, 13) if update not in (1, 7)]
    assert len(chart(page_of(run.path), "Loss")["tables"]["faint"]["steps"]) == 12


def test_lock_step_has_no_chart_of_policy_lags(tmp_path: Path) -> None:
    more = {"lag_rows/0": 128.0, "rollouts_in_flight": 2.0}
    text = page_of(write_run(tmp_path / "run", 5, more=more).path)
    titles = {one["title"] for one in data_of(text)["charts"]}
    assert not titles & {"Policy lag of the rows learned from", "Rollouts in flight", "Rows dropped as too old"}


def test_dropped_rows_and_rollouts_in_flight_of_a_run_with_a_lag_are_charts(tmp_path: Path) -> None:
    more = {"policy_lag_mean": 1.0, "rollouts_in_flight": 3.0, "rows_dropped": 16.0}
    text = page_of(write_run(tmp_path / "run", 5, more=more).path)
    for title, value in (("Rollouts in flight", 3.0), ("Rows dropped as too old", 16.0)):
        assert chart(text, title)["tables"]["main"]["y"] == [value] * 5


def test_runs_are_grouped_by_what_differs(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / f"run{number}", 5, TrainConfig(seed=number, rollout_steps=steps)).path
        for number, steps in enumerate((16, 16, 32))
    ]
    assert [(group.name, len(group.runs)) for group in grouped([read_run(path) for path in paths])] == [
        ("rollout_steps 16", 2),
        ("rollout_steps 32", 1),
    ]
