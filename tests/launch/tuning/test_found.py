"""The folder of a search in the commands that show runs: report, runs, plot, watch and others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from written_runs import change_record, write_run

from distpolicy.errors import ConfigError
from launch.commands.reports import PLOT, REPORT, RUNS, WATCH
from launch.config.codec import dump
from launch.config.train import TrainConfig, load_train_config
from launch.config.tune import SEARCH_FILE, TuneConfig, TuneFile
from launch.output.folder_lock import used_alone
from launch.output.run_directory import RunDirectory, saved_policy_folder
from launch.reports.arguments import RunsArguments
from launch.reports.run_list import list_runs
from launch.tuning.found import describe_search, read_search
from launch.tuning.journal import FAILED, FINISHED, JOURNAL_FILE, STOPPED, TrialJournal, TrialReport

SEARCH = {"ppo.learning-rate": "loguniform 1e-4 1e-2", "ppo.num-epochs": "choice 4 8"}
TRAIN = TrainConfig(total_steps=200_000, target_return=475.0)


def write_search(folder: Path, scores: list[float | None], num_over: int | None = None, samples: int = 3) -> Path:
    """Writes the folder of a search as a kill leaves it, with a trial of each score; None for one that fails."""
    folder.mkdir(parents=True)
    config = TuneConfig(search=SEARCH, steps=40_000, samples=samples)
    (folder / SEARCH_FILE).write_text(dump(TuneFile(config, TRAIN)))
    journal = TrialJournal(folder / JOURNAL_FILE)
    for trial, score in enumerate(scores):
        journal.begin(trial, trial, 0, {"ppo.learning-rate": 1e-3 / (trial + 1), "ppo.num-epochs": 8})
        for turn in range(1, 4) if score is not None else ():
            journal.report(trial, TrialReport(10_000 * turn, score - 3 + turn, 2.0 * turn))
        if trial < (len(scores) if num_over is None else num_over):
            journal.end(trial, FAILED if score is None else STOPPED if trial == 2 else FINISHED, "the pole is gone")
    journal.close()
    return folder


def shown(command: object, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert command.run(list(arguments), 0.0) == 0  # type: ignore[attr-defined]
    return capsys.readouterr().out


def test_report_writes_the_page_of_a_search_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_search(tmp_path / "search", [200.0, 300.0, 100.0])
    output = shown(REPORT, str(folder), capsys=capsys)
    assert re.findall(r"^(\w+): .*/search/(.*)$", output, re.M) == [
        ("report", "search.html"),
        ("picture", "search.png"),
    ]
    page = (folder / "search.html").read_text()
    for text in ("as given", "300.0", "stopped", "0.0005", "30,000", "of a whole run: 200,000"):
        assert f">{text}<" in page, text
    # It was killed: the file of the best settings is not there.
    assert f"distpolicy tune --resume {folder}" in page
    read_search(folder)[0].write()
    shown(REPORT, str(folder), "--out", str(tmp_path / "page.html"), capsys=capsys)
    assert f"distpolicy train --config {folder}/best.yaml --seed 1<" in (tmp_path / "page.html").read_text()
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_report_refuses_what_it_cannot_show(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "search", [None])
    with pytest.raises(ConfigError, match="has nothing to report yet: all trials failed"):
        REPORT.run([str(folder)], 0.0)
    with pytest.raises(ConfigError, match="--out must be an HTML file"):
        REPORT.run([str(folder), "--out", "page.pdf"], 0.0)


def test_the_best_settings_have_the_steps_of_a_whole_run(tmp_path: Path) -> None:
    result, _ = read_search(write_search(tmp_path / "search", [200.0, 300.0]))
    result.write()
    best = load_train_config(result.best_file)
    assert (best.total_steps, best.agent.learning_rate) == (200_000, 0.0005)  # type: ignore[attr-defined]
    longer = TuneConfig(search=SEARCH, steps=300_000)
    (tmp_path / "search" / SEARCH_FILE).write_text(dump(TuneFile(longer, TRAIN)))
    again, _ = read_search(tmp_path / "search")
    assert again.best_config is not None
    assert again.best_config.total_steps == 300_000


def test_runs_lists_searches_with_their_states_and_best_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_record(write_run(tmp_path / "first", 2), starts=[{"time": 100.0}])
    search = write_search(tmp_path / "search", [200.0, 300.0, 100.0])
    change_record(write_run(search / "trials" / "0001-seed0", 2), starts=[{"time": 200.0}])
    write_search(tmp_path / "more" / "killed", [200.0, 300.0], num_over=1)
    broken = write_search(tmp_path / "broken", [200.0])
    (broken / JOURNAL_FILE).write_text("{}\n")
    write_search(tmp_path / "failed", [None, None], samples=2)
    found = {one["run"]: one for one in json.loads(shown(RUNS, str(tmp_path), "--json", capsys=capsys))}
    searches = {name: one["state"] for name, one in found.items() if one["kind"] == "search"}
    assert searches == {"search": "ended", "more/killed": "interrupted", "broken": "unreadable", "failed": "failed"}
    assert found["first"]["kind"] == "run"
    assert found["search"] == {
        **{"run": "search", "kind": "search", "env": "CartPole-v1", "agent": "ppo", "state": "ended", "trials": 3},
        **{"trials_over": 3, "metric": "return", "best": 300.0, "began": 200.0, "train_s": 18.0, "error": None},
    }
    assert found["failed"]["error"] == "the pole is gone"
    runs, tables = shown(RUNS, str(tmp_path), capsys=capsys).split("\n\n")
    assert [line.split()[0] for line in runs.splitlines()] == ["run", "first"]
    head, *lines = tables.splitlines()
    assert head.split() == ["search", "env", "agent", "trials", "metric", "best", "state", "began", "training"]
    assert ["search", "CartPole-v1", "ppo", "3/3", "return", "300.0", "ended"] in [line.split()[:7] for line in lines]
    with used_alone(search):
        assert describe_search(search)["state"] == "running"


def test_a_search_lists_itself_and_its_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_search(tmp_path / "search", [200.0])
    trial = write_run(folder / "trials" / "0000-seed0", 2)
    change_record(trial, end={"state": "stopped"})
    output = shown(RUNS, str(folder), capsys=capsys)
    assert re.search(r"^trials/0000-seed0 .* stopped ", output, re.M)
    assert re.search(r"^search +CartPole-v1 .* 1/3 .* interrupted ", output, re.M)
    (tmp_path / "empty").mkdir()
    console = Console(record=True)
    with pytest.raises(ConfigError, match="holds no run directory"):
        list_runs(RunsArguments(tmp_path / "empty"), console, describe_search)


def test_other_commands_say_where_the_runs_of_a_search_are(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "search", [200.0])
    run = write_run(tmp_path / "run", 2).path
    reason = f"it is the folder of a search, whose runs are in {folder}/trials"
    for command, arguments in ((PLOT, [str(folder)]), (REPORT, [str(folder), str(run)]), (WATCH, [str(folder)])):
        with pytest.raises(ConfigError, match=f"search is not a run directory: {reason}"):
            command.run(arguments, 0.0)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=f"search is not a run directory: {reason}"):
        RunDirectory.open(folder)
    with pytest.raises(ConfigError, match=f"nor the folder of a policy's SavedModel: {reason}"):
        saved_policy_folder(folder, False, False)
    (run / "policy").mkdir()
    with pytest.raises(ConfigError, match=r"nor the folder .*: its policy has no saved_model\.pb"):
        saved_policy_folder(run, False, False)
