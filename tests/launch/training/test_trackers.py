"""Weights & Biases and MLflow get a run's figures, offline, and a service that fails does not end or slow the run."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distpolicy.errors import ConfigError, DistPolicyWarning
from launch.config.tracking import TrackingConfig
from launch.config.train import TrainConfig
from launch.output.run_directory import RunDirectory
from launch.training.followers import make_followers
from launch.training.observer import ObservedRun, RunEnd, TrainingObserver
from launch.training.totals import TrainingTotals, UpdateResult
from launch.training.trackers import MlflowTracker, WandbTracker
from launch.training.tracking import Tracker
from workers.collection.evaluator import EvaluationResult


def totals(update: int) -> TrainingTotals:
    return TrainingTotals(updates=update, env_steps=100 * update)


def result(update: int) -> UpdateResult:
    metrics = {"update": update, "env_steps": 100 * update, "return_mean_100": 10.0 * update, "entropy": 0.5}
    return UpdateResult(totals(update), metrics, 0.0, [])


def followed(tracker: TrainingObserver, folder: Path, updates: range, error: BaseException | None = None) -> None:
    """A run in a folder, as a tracker sees it."""
    folder.mkdir(exist_ok=True)
    run: Any = SimpleNamespace(directory=RunDirectory(folder), totals=totals(0), config=TrainConfig())
    tracker.on_start(run)
    for update in updates:
        tracker.on_update(result(update))
    tracker.on_evaluation(EvaluationResult([1.0, 3.0], [1, 1], [False] * 2, [{}] * 2), totals(updates[-1]))
    tracker.on_end(RunEnd(totals(updates[-1]), error))


@pytest.mark.slow
def test_mlflow_has_figures_and_settings_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    followed(MlflowTracker(uri), tmp_path / "run", range(1, 4), KeyboardInterrupt())
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("CartPole-v1")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "KILLED")
    assert run.data.params["agent.kind"] == "ppo"
    assert float(run.data.params["agent.learning_rate"]) == TrainConfig().agent.learning_rate  # type: ignore[attr-defined]
    assert run.data.metrics["evaluation/return_mean"] == 2.0
    history = client.get_metric_history(run.info.run_id, "rollout/ep_rew_mean")
    assert [(item.step, item.value) for item in history] == [(100, 10.0), (200, 20.0), (300, 30.0)]
    followed(MlflowTracker(uri), tmp_path / "run", range(4, 6))
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "rollout/ep_rew_mean")) == 5


@pytest.mark.slow
def test_wandb_keeps_figures_and_settings_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DistPolicyWarning)
        followed(WandbTracker("poles"), tmp_path / "run", range(1, 4))
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert (tmp_path / "run" / "wandb_run.txt").read_text().strip() in file.name
    data = file.read_bytes()
    for text in (b"rollout/ep_rew_mean", b"evaluation/return_mean", b"agent.learning_rate", b"poles"):
        assert text in data, text


@pytest.mark.slow
def test_a_server_that_is_not_there_is_one_warning(tmp_path: Path) -> None:
    with pytest.warns(DistPolicyWarning, match="MLflow failed: .*; the run goes on without it") as caught:
        followed(MlflowTracker("http://127.0.0.1:9"), tmp_path / "run", range(1, 50))
    assert len([item for item in caught if issubclass(item.category, DistPolicyWarning)]) == 1
    assert "\n" not in str(caught[0].message)


class Slow(Tracker):
    """A service that does not answer until it is told to go on. It keeps what it gets."""

    service, library, extra = "Slow", "json", "slow"

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.goes_on = threading.Event(), threading.Event()
        self.steps: list[int] = []
        self.has_finished = False

    def begin(self, run: ObservedRun, settings: Mapping[str, Any]) -> None:
        self.has_begun.set()
        self.goes_on.wait()

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self.steps.append(step)

    def finish(self, error: BaseException | None) -> None:
        self.has_finished = True


def test_a_slow_service_does_not_slow_the_run_and_what_it_lacks_is_told(tmp_path: Path) -> None:
    tracker = Slow()
    run: Any = SimpleNamespace(directory=RunDirectory(tmp_path), totals=totals(0), config=TrainConfig())
    tracker.on_start(run)
    tracker.has_begun.wait()
    for update in range(1, 1503):  # A thousand wait.
        tracker.on_update(result(update))
    tracker.goes_on.set()
    with pytest.warns(DistPolicyWarning, match="Slow was too slow for 502 updates, which it lacks"):
        tracker.on_end(RunEnd(totals(1502)))
    assert tracker.steps == [100 * update for update in range(1, 1001)]
    assert tracker.has_finished


def test_what_is_missing_is_told_before_a_run_and_nothing_is_imported_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert make_followers(TrackingConfig()) == []
    assert isinstance(make_followers(TrackingConfig(wandb="poles"))[0], WandbTracker)
    code = (
        "import sys\nfrom launch.training.followers import make_followers\n"
        "from launch.config.tracking import TrackingConfig\nmake_followers(TrackingConfig('a', 'b', True))\n"
        "assert not {'wandb', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(ConfigError, match="--wandb needs the name of a project"):
        make_followers(TrackingConfig(wandb=""))
    monkeypatch.setattr(Slow, "library", "no_such_library")
    with pytest.raises(ConfigError, match=r"Slow needs no_such_library: pip install 'distpolicy\[slow\]'"):
        Slow()
