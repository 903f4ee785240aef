"""`distpolicy tune` on a Ray of its own: trials share it, bad ones end early, and a killed search goes on."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import distpolicy, environment, no_process_left, our_processes, read_metrics  # noqa: F401

from launch.commands.train import parse_train
from launch.config.train import load_train_config
from launch.config.tune import open_search
from launch.output.seeds_folder import preset_of
from launch.reports.run_data import read_run
from launch.tuning.journal import FINISHED, STOPPED, TrialRecord, read_trials, trial_name

SMALL = ("--collectors", "1", "--envs-per-collector", "4", "--rollout-steps", "16", "--no-jit-compile")
NETWORK = ("--network.actor-units", "8", "--ppo.value-units", "8", "--ppo.num-minibatches", "2")
RATE = ("--search", "ppo.learning-rate", "loguniform", "1e-4", "1e-2")
OPTIONS = (*SMALL, *NETWORK, *RATE, "--out", "found")


def trials(folder: Path) -> dict[int, TrialRecord]:
    return read_trials(folder / "trials.jsonl")


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_trials_with_actors_of_their_own_share_two_cpus_and_the_best_settings_train(tmp_path: Path) -> None:
    options = (*OPTIONS, "--search", "ppo.num-epochs", "choice", "1", "2", "--samples", "3", "--steps", "1728")
    done = distpolicy("tune", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "found"
    records = trials(folder)
    assert sorted(records) == [0, 1, 2]
    assert {record.state for record in records.values()} <= {FINISHED, STOPPED}
    assert records[0].settings == {"ppo.learning-rate": 0.001, "ppo.num-epochs": 10}
    rows = table(folder)
    # Those that finished come first.
    assert rows == sorted(rows, key=lambda row: (row["state"] != FINISHED, -int(row["steps"]), -float(row["score"])))
    assert re.search(r"trial +return +steps +state +learning-rate +num-epochs\n", done.stdout)
    best = load_train_config(folder / "best.yaml")
    assert best.agent.learning_rate == float(rows[0]["ppo.learning-rate"])  # type: ignore[attr-defined]
    assert best.target_return == 475.0  # That of the preset, which the trials leave out.
    words = re.search(r"^best: (.*)$", done.stdout, re.MULTILINE)
    assert words is not None
    # A whole run, with the steps of the preset, and not a trial once more.
    assert parse_train([*SMALL, *NETWORK, *words[1].split()]).config == best
    assert "train with it: distpolicy train --config found/best.yaml --seed 1\n" in done.stdout
    for row in rows:
        run = folder / row["run"]
        assert load_train_config(run / "config.yaml").agent.num_epochs == int(row["ppo.num-epochs"])  # type: ignore[attr-defined]
        # Those that were stopped have not exported theirs: it takes as long as a short trial.
        assert (run / "policy" / "saved_model.pb").is_file() == (row["state"] == FINISHED)
    assert (folder / "search.png").read_bytes().startswith(b"\x89PNG")
    left = {path.name for path in folder.iterdir()}
    assert left == {"trials", "trials.jsonl", "trials.csv", "tune.yaml", "best.yaml", "search.png", "search.html"}
    assert not list(folder.rglob("*.pkl"))


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_trials_that_are_stopped_have_a_state_of_their_own_and_the_search_is_listed(tmp_path: Path) -> None:
    options = (*OPTIONS, "--samples", "6", "--steps", "1728", "--serial", "--concurrent", "1", "--out", "runs/found")
    done = distpolicy("tune", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "asha first looks at trials after 320 of 1,728 env steps" in done.stdout
    folder = tmp_path / "runs" / "found"
    records = trials(folder)
    assert {record.state for record in records.values()} == {FINISHED, STOPPED}
    for record in records.values():
        assert f"trial {record.trial}: {record.state} after {record.steps:,} steps: " in done.stdout
        run = read_run(folder / "trials" / trial_name(record.sample, record.seed))
        assert (run.state, run.config["total_steps"]) == ("stopped" if record.state == STOPPED else "ended", 1728)
    listed = distpolicy("runs", cwd=tmp_path)
    assert re.search(r"^found +CartPole-v1 +ppo +6/6 +return +[\d.]+ +ended ", listed.stdout, re.M), listed.stdout
    assert load_train_config(folder / "best.yaml").total_steps == parse_train([]).config.total_steps


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_killed_search_goes_on_from_checkpoints_and_runs_no_trial_twice(tmp_path: Path) -> None:
    options = (*OPTIONS, "--samples", "3", "--steps", "20000", "--checkpoint-every", "20", "--scheduler", "none")
    command = [sys.executable, "-m", "launch", "tune", *options, "--serial", "--concurrent", "1"]
    folder = tmp_path / "found"
    with open(tmp_path / "output", "w") as output:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output, env=environment())
    # Once the first is over, and the second has a checkpoint.
    while not list(folder.glob("trials/0001-seed0/checkpoints/0*")):
        assert process.poll() is None, (tmp_path / "output").read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = trials(folder)
    assert (before[0].state, before[1].is_over) == (FINISHED, False)
    while our_processes():
        time.sleep(0.1)
    done = distpolicy("tune", "--resume", "found", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    after = trials(folder)
    assert repr(after[0]) == repr(before[0])
    assert [record.state for record in after.values()] == [FINISHED] * 3
    # It went on: its updates are there once, over both starts.
    assert "trial 1: goes on at" in done.stdout
    rows = read_metrics(folder / "trials" / "0001-seed0")
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    assert after[1].reports[: len(before[1].reports)] == before[1].reports
    assert len(table(folder)) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_trials_are_compared_with_the_preset_of_the_search_and_more_trials_are_kept(tmp_path: Path) -> None:
    options = (*OPTIONS, "--preset", "ppo", "--samples", "1", "--steps", "640")
    done = distpolicy("tune", *options, "--serial", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = distpolicy("tune", "--resume", "found", "--samples", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "found"
    assert open_search(folder).tune.samples == 2
    for run in ("0000-seed0", "0001-seed0"):
        # The default preset of CartPole-v1 is another one.
        assert json.loads((folder / "trials" / run / "run.json").read_text())["preset"] == "ppo"
    assert preset_of(folder / "best.yaml") == "ppo"


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.skipif(find_spec("optuna") is None, reason="needs Optuna")
def test_a_search_by_optuna_draws_its_own_settings_and_goes_on_with_more_trials(tmp_path: Path) -> None:
    found = {}
    for searcher in ("optuna", "random"):
        options = (*OPTIONS, "--searcher", searcher, "--samples", "2", "--steps", "640", "--scheduler", "none")
        done = distpolicy("tune", *options, "--serial", "--concurrent", "1", "--out", searcher, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        records = trials(tmp_path / searcher)
        assert [record.state for record in records.values()] == [FINISHED] * 2
        found[searcher] = [record.settings["ppo.learning-rate"] for record in records.values()]
        assert len(table(tmp_path / searcher)) == 2
    # The first trial has the preset's settings.
    assert found["optuna"][0] == found["random"][0]
    assert found["optuna"][1] != found["random"][1]
    assert 1e-4 <= found["optuna"][1] <= 1e-2
    # It takes in the trials that there are.
    done = distpolicy("tune", "--resume", "optuna", "--samples", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = trials(tmp_path / "optuna")
    assert [record.state for record in records.values()] == [FINISHED] * 3
    assert len({record.settings["ppo.learning-rate"] for record in records.values()}) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_population_goes_on_from_better_checkpoints_with_changed_settings(tmp_path: Path) -> None:
    options = (*OPTIONS, "--scheduler", "pbt", "--samples", "4", "--steps", "12800", "--perturb-every", "3200")
    done = distpolicy("tune", *options, "--serial", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "found"
    records = trials(folder)
    assert [record.state for record in records.values()] == [FINISHED] * 4
    assert len({record.seed for record in records.values()}) == 4
    exchanges = [(record, exchange) for record in records.values() for exchange in record.exchanges]
    assert exchanges
    for record, exchange in exchanges:
        assert exchange.source != record.trial
        assert 1e-4 <= exchange.settings["ppo.learning-rate"] <= 1e-2
    for record in records.values():
        rows = read_metrics(folder / "trials" / f"{record.sample:04d}-seed{record.seed}")
        assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    # The source of the last exchange has not gone on from yet another trial since.
    events = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    last = [event["trial"] for event in events if event.get("event") == "exchange"][-1]
    record, exchange = records[last], records[last].exchanges[-1]
    run = folder / "trials" / f"{record.sample:04d}-seed{record.seed}"
    # The metrics are those of the weights: the other trial's until the exchange, without a gap.
    rows, source = read_metrics(run), records[exchange.source]
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    others = read_metrics(folder / "trials" / f"{source.sample:04d}-seed{source.seed}")
    assert rows[10]["loss"] == others[10]["loss"]
    assert rows[-1]["loss"] != others[-1]["loss"]
    assert load_train_config(run / "config.yaml").agent.learning_rate == record.settings["ppo.learning-rate"]  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_population_that_was_killed_after_an_exchange_goes_on(tmp_path: Path) -> None:
    options = (*OPTIONS, "--scheduler", "pbt", "--samples", "4", "--steps", "12800", "--perturb-every", "3200")
    folder = tmp_path / "found"
    with open(tmp_path / "output", "w") as output:
        command = [sys.executable, "-m", "launch", "tune", *options, "--serial"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output, env=environment())
    while not (folder / "trials.jsonl").exists() or '"exchange"' not in (folder / "trials.jsonl").read_text():
        assert process.poll() is None, (tmp_path / "output").read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {number: len(record.exchanges) for number, record in trials(folder).items()}
    assert sum(before.values()) == 1
    while our_processes():
        time.sleep(0.1)
    done = distpolicy("tune", "--resume", "found", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for number, record in trials(folder).items():
        assert record.state == FINISHED
        assert len(record.exchanges) >= before[number]
        rows = read_metrics(folder / "trials" / f"{record.sample:04d}-seed{record.seed}")
        assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
        assert int(rows[-1]["env_steps"]) >= 12800


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_what_can_never_fit_is_refused_and_failed_trials_are_told(tmp_path: Path) -> None:
    many = str(2 * (os.cpu_count() or 1) + 2)
    done = distpolicy("tune", *RATE, "--collectors", many, cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(rf"error: {many} x collector ask for CPU 1 each, and this machine has room for", done.stderr)
    assert not list(tmp_path.iterdir())
    (tmp_path / "broken_env.py").write_text(
        "import gymnasium as gym\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Broken(CartPoleEnv):\n    def step(self, action):\n        raise RuntimeError('the pole is gone')\n"
    )
    options = (*OPTIONS, "--env", "broken_env:Broken", "--vectorization", "sync", "--samples", "1", "--serial")
    done = distpolicy("tune", *options, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "trial 0: failed: " in done.stdout
    assert "the pole is gone" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert json.loads((tmp_path / "found" / "trials.jsonl").read_text().splitlines()[-1])["state"] == "failed"
