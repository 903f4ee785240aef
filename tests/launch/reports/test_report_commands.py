"""The commands report, plot, runs and watch, on run directories that are there."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from commands import distpolicy, environment
from rich.console import Console
from written_runs import change_record, write_run

from distpolicy.errors import ConfigError
from launch.config.train import TrainConfig
from launch.output.seeds_folder import Seeds, text_of_seeds
from launch.reports.arguments import PlotArguments, ReportArguments, RunsArguments, WatchArguments
from launch.reports.commands import plot, report, run_paths
from launch.reports.run_list import list_runs
from launch.reports.watch import watch

PNG = b"\x89PNG\r\n"


def console(**options: object) -> Console:
    return Console(width=100, record=True, markup=False, highlight=False, **options)  # type: ignore[arg-type]


def test_report_writes_page_and_picture_beside_the_run(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", 5)
    report(ReportArguments((directory.path,)), console())
    assert directory.report_file.read_text().startswith("<!doctype html>")
    assert directory.picture_file.read_bytes().startswith(PNG)


@pytest.mark.slow
def test_report_takes_a_folder_of_runs_and_writes_there(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / f"seed-{seed}", 5, TrainConfig(seed=seed))
    (tmp_path / "notes").mkdir()
    report(ReportArguments((tmp_path,)), console())
    assert "ppo (2 runs)" in (tmp_path / "report.html").read_text()


def test_plot_compares_groups(tmp_path: Path) -> None:
    for number, collectors in enumerate((1, 2, 2)):
        write_run(tmp_path / "runs" / str(number), 5, TrainConfig(seed=number, collectors=collectors))
    plot(PlotArguments((tmp_path / "runs",), by="collectors", out=tmp_path / "plot.html"), console())
    text = (tmp_path / "plot.html").read_text()
    assert "CartPole-v1 by collectors" in text
    assert "collectors 2 (2 runs)" in text
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)


def test_wrong_inputs_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    run = write_run(tmp_path / "run", 2).path
    other = write_run(tmp_path / "elsewhere" / "run", 2).path
    for folder, message in (
        ("file", "it is a file"),
        ("none", "there is no such folder"),
        ("empty", r"no config\.yaml"),
    ):
        with pytest.raises(ConfigError, match=f"{folder} is not a run directory: .*{message}"):
            run_paths([tmp_path / folder])
    with pytest.raises(ConfigError, match="give a run directory"):
        run_paths([])
    with pytest.raises(ConfigError, match="say by --out"):
        report(ReportArguments((run, other)), console())
    with pytest.raises(ConfigError, match="--out must be an HTML file"):
        report(ReportArguments((run,), out=tmp_path / "report.pdf"), console())


def test_runs_lists_the_newest_first_with_their_states(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", 5, returns=np.full(5, 480.0))
    # The evaluation after the last update has solved it.
    change_record(first, starts=[{"time": 100.0}], end={"state": "solved", "train_s": 29.3})
    write_run(tmp_path / "more" / "second", 4, ends=False)
    write_run(tmp_path / "later", 2)
    change_record(write_run(tmp_path / "later version", 2), format=99)
    shown = console()
    list_runs(RunsArguments(tmp_path, json=True), shown)
    found = {one["run"]: one for one in json.loads(shown.export_text())}
    states = {name: one["state"] for name, one in found.items()}
    assert states == {
        **{"more/second": "running", "later": "ended", "first": "solved"},
        "later version": "unreadable",
    }
    assert list(found)[-2:] == ["first", "later version"]
    assert found["first"] == {
        **{"run": "first", "kind": "run", "env": "CartPole-v1", "agent": "ppo", "seed": 3, "state": "solved"},
        "steps": 640,
        **{"return": 480.0, "evaluated": None, "began": 100.0, "train_s": 29.3, "faults": 0, "error": None},
    }
    table = console()
    list_runs(RunsArguments(tmp_path), table)
    lines = table.export_text().splitlines()
    assert lines[0].split() == [
        *("run", "env", "agent", "seed", "steps", "return", "evaluated", "state", "began", "training")
    ]
    assert len(lines) == 5
    with pytest.raises(
        ConfigError, match="is not a folder of runs: there is no such folder; distpolicy train makes runs/"
    ):
        list_runs(RunsArguments(tmp_path / "none"), table)


def test_watch_shows_a_run_that_has_ended_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 40, num_faults=1)
    shown = console(force_terminal=True)
    watch(WatchArguments(run.path, once=True), shown)
    text = shown.export_text()
    assert "CartPole-v1 · ppo · seed 3 · run  ended" in text
    assert "return\u00a0400.0/475" in text
    assert "mean return of the last 100 episodes" in text
    assert "after 40.0 s: collector 0: a <b>broken</b> machine" in text
    assert "⣀" in text or "⠤" in text, "the learning curve"


def test_watch_shows_a_run_without_steps(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5, more={"env_steps": float("nan")})
    shown = console()
    watch(WatchArguments(run.path, once=True), shown)
    assert "CartPole-v1" in shown.export_text()


def test_watch_draws_without_unicode_on_a_terminal_that_has_none(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 40)
    result = distpolicy("watch", str(run.path), "--once", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert "*" in result.stdout
    assert "\\u28" not in result.stdout


def test_watch_waits_for_a_run_and_ends_with_it(tmp_path: Path) -> None:
    path, shown = tmp_path / "run", console()
    watching = threading.Thread(target=watch, args=(WatchArguments(path, every_s=0.02), shown), daemon=True)
    watching.start()
    time.sleep(0.2)
    assert watching.is_alive()
    directory = write_run(path, 3, ends=False)
    # The console breaks long lines.
    text = shown.export_text(clear=False).replace("\n", "")
    assert f"waiting for {path} to begin (Ctrl-C ends)".replace(" ", "") in text.replace(" ", "")
    deadline = time.monotonic() + 20.0
    while "env steps 384/384 · return 400.0" not in shown.export_text(clear=False):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert watching.is_alive()
    change_record(directory, end={"state": "ended", "time": 0.0})
    watching.join(20.0)
    assert not watching.is_alive()
    assert shown.export_text().rstrip().endswith("ended")


def test_watch_refuses_what_will_never_be_a_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "one", 2).path
    (tmp_path / "file").touch()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").touch()
    with pytest.raises(ConfigError, match=r"docs is not a run directory: it holds other files, and no config\.yaml"):
        watch(WatchArguments(tmp_path / "docs"), console())
    with pytest.raises(ConfigError, match="is a file"):
        watch(WatchArguments(tmp_path / "file"), console())
    with pytest.raises(ConfigError, match=r"holds run directories and is not one: watch one of them, such as .*/one"):
        watch(WatchArguments(run.parent), console())
    with pytest.raises(ConfigError, match="leave --once out to wait for it"):
        watch(WatchArguments(tmp_path / "later", once=True), console())
    with pytest.raises(ConfigError, match="--every must be above 0"):
        watch(WatchArguments(run, every_s=0.0), console())


def test_a_wrong_path_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = distpolicy("report", "none", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "distpolicy: error: none is not a run directory: there is no such folder\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seeds", "0"), "--seeds must be 1 or more"),
        (("--seeds-at-once", "2"), "--seeds-at-once is for several runs: give --seeds as well"),
        (("--resume", "run", "--seeds", "2"), "--seeds begins new runs"),
        (("--resume", "seeds", "--total-steps", "5"), "go on with their own settings"),
    ],
)
def test_options_on_seeds_that_mean_nothing_are_refused(
    options: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launch.commands.train import parse_train

    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "run", 2)
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "seeds.json").write_text(text_of_seeds(Seeds([0, 1])))
    (tmp_path / "seeds" / "seeds.yaml").write_bytes(run.config_file.read_bytes())
    with pytest.raises(ConfigError, match=message):
        parse_train(list(options))


def test_the_driver_loads_no_plotting_library() -> None:
    code = "import sys, launch.training.run, launch.cli\nprint({'vl_convert', 'plotext'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment())
    assert done.stdout.strip() == "set()", done.stderr
