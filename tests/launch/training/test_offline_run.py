"""Runs that learn from a dataset, in this process."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from commands import read_metrics
from driver_runs import assert_same_state
from rich.console import Console
from scripted_datasets import cartpole_expert, cartpole_random, pendulum_mixed, write

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.policies.policy_loader import load
from distpolicy.trajectories.time_step import restart
from launch.config.train import TrainConfig
from launch.reports.run_data import read_run
from launch.training.checkpoint_store import CheckpointStore
from launch.training.console import ConsoleObserver
from launch.training.run import TrainingRun
from workers.learning.learner import Learner

STEPS_PER_UPDATE = 20


@pytest.fixture(scope="module", name="dataset")
def dataset_fixture(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("data"), "CartPole-v1", cartpole_random, num_steps=60)


def config(dataset: str, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "dataset": (dataset,),
        "total_steps": 10 * STEPS_PER_UPDATE,
        "eval_episodes": 0,
        "collectors": 1,
        "envs_per_collector": 4,
        "jit_compile": False,
        "network": NetworkConfig(actor_units=(8,)),
        "agent": BehavioralCloningConfig(batch_size=32, updates_per_call=STEPS_PER_UPDATE),
    }
    return TrainConfig(**{**settings, **changes})


def state_of(run: Path) -> dict[str, np.ndarray]:
    return CheckpointStore(run / "checkpoints", 3).latest_to_resume().state


def train(settings: TrainConfig | None, folder: Path, resume: bool = False) -> TrainingRun:
    where = {"resume": folder} if resume else {"run_dir": folder}
    with TrainingRun(settings, serial=True, **where) as run:  # type: ignore[arg-type]
        run.run()
        assert not ray.is_initialized()
        return run


def test_a_run_counts_gradient_steps_and_claims_no_env_steps(dataset: str, tmp_path: Path) -> None:
    run = train(config(dataset), tmp_path / "run")
    assert (run.totals.gradient_steps, run.totals.env_steps, run.totals.updates) == (200, 0, 10)
    assert run.describe().startswith(f"learning from {dataset}, without evaluations")
    rows = read_metrics(tmp_path / "run")
    assert [int(row["gradient_steps"]) for row in rows] == list(range(20, 201, 20))
    assert all(row[name] == "" for row in rows for name in ("env_steps", "episodes", "env_s", "collector_wait_s"))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    report = (tmp_path / "run" / "report.html").read_text()
    assert re.search(r"Gradient steps</div><div class=value>200<", report)
    assert "env steps" not in report.partition("Configuration")[0].lower()
    policy = load(str(tmp_path / "run" / "policy"))
    assert policy.action(restart(np.zeros((3, 4), np.float32), batch_size=3)).action.shape == (3,)
    with pytest.raises(ConfigError, match=r"complete \(200 gradient steps\): nothing to resume"):
        TrainingRun(resume=tmp_path / "run", serial=True)


SLOW = [("CartPole-v1", "marwil"), ("CartPole-v1", "iql"), ("CartPole-v1", "cql"), ("Pendulum-v1", "cql")]


@pytest.mark.parametrize(
    ("env", "kind"), [("CartPole-v1", "bc"), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_two_runs_and_a_run_that_was_resumed_learn_the_same_bytes(env: str, kind: str, tmp_path: Path) -> None:
    dataset = write(tmp_path / "data", env, cartpole_random if env == "CartPole-v1" else pendulum_mixed, num_steps=60)
    agent = AgentConfig.of_kind(kind)(batch_size=32, updates_per_call=STEPS_PER_UPDATE)  # type: ignore[call-arg]
    whole = config(dataset, env=env, agent=agent)
    for name in ("first", "second"):
        train(whole, tmp_path / name)
    train(dataclasses.replace(whole, total_steps=100), tmp_path / "half")
    half = state_of(tmp_path / "half")
    train(whole, tmp_path / "half", resume=True)
    expected = state_of(tmp_path / "first")
    assert any(not np.array_equal(half[path], value) for path, value in expected.items())
    for name in ("second", "half"):
        assert_same_state(state_of(tmp_path / name), expected)


def interrupted(settings: TrainConfig, folder: Path, number: int, num_signals: int = 1) -> str:
    """Trains, with Ctrl-C in the midst of an update; returns what the run has said."""
    calls, learn, said = itertools.count(), Learner._train, io.StringIO()

    def learn_until_then(self: Learner, *arguments: Any) -> dict[str, float]:
        found = learn(self, *arguments)
        if next(calls) == number:  # The first call compiles the update.
            for _ in range(num_signals):
                signal.raise_signal(signal.SIGINT)
        return found

    def run() -> None:
        observer = ConsoleObserver(Console(file=said, width=200), 0.0)
        with TrainingRun(settings, [observer], folder, serial=True) as made:
            made.run()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Learner, "_train", learn_until_then)
        with pytest.raises(KeyboardInterrupt):
            run()
    return said.getvalue()


@pytest.fixture(scope="module", name="whole")
def whole_fixture(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The state after a run that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(config(dataset), folder)
    return state_of(folder)


@pytest.mark.usefixtures("heeded_interrupt")
@pytest.mark.parametrize("number", [1, 5])
def test_an_interrupt_in_an_update_leaves_what_it_has_learned(
    number: int, dataset: str, whole: dict[str, np.ndarray], tmp_path: Path
) -> None:
    assert "go on with: distpolicy train --resume" in interrupted(config(dataset), tmp_path / "run", number)
    found = CheckpointStore(tmp_path / "run" / "checkpoints", 3).latest_to_resume()
    assert found.totals.updates == number
    train(None, tmp_path / "run", resume=True)
    assert_same_state(state_of(tmp_path / "run"), whole)


@pytest.mark.usefixtures("heeded_interrupt")
def test_a_second_interrupt_ends_an_update_that_no_checkpoint_has(
    dataset: str, whole: dict[str, np.ndarray], tmp_path: Path
) -> None:
    said = interrupted(config(dataset), tmp_path / "first", 2, num_signals=2)
    assert "there is no checkpoint: what was learned in 20 gradient steps is lost" in said
    said = interrupted(config(dataset, checkpoint_every=2), tmp_path / "run", 4, num_signals=2)
    assert "the newest checkpoint is of 40 gradient steps, and not of 60 gradient steps" in said
    train(None, tmp_path / "run", resume=True)
    assert_same_state(state_of(tmp_path / "run"), whole)


def test_a_run_that_is_resumed_with_more_steps_keeps_them(dataset: str, tmp_path: Path) -> None:
    train(config(dataset, total_steps=40), tmp_path / "run")
    train(config(dataset, total_steps=80), tmp_path / "run", resume=True)
    assert read_run(tmp_path / "run").config["total_steps"] == 80
    with pytest.raises(ConfigError, match=r"complete \(80 gradient steps\): nothing to resume"):
        TrainingRun(resume=tmp_path / "run", serial=True)


def test_a_run_does_not_go_on_with_other_data(dataset: str, tmp_path: Path) -> None:
    train(config(dataset, total_steps=40), tmp_path / "run")
    other = write(tmp_path / "other", "CartPole-v1", cartpole_random, num_steps=61)
    with pytest.raises(ConfigError, match=r"learned from other data than .*other holds now"):
        train(config(other), tmp_path / "run", resume=True)


def test_collectors_serve_for_evaluations_alone(dataset: str, tmp_path: Path) -> None:
    settings = config(dataset, eval_episodes=4, eval_every=5)
    with TrainingRun(settings, serial=True, run_dir=tmp_path / "run") as run:
        results = list(run)
        assert [row["update"] for row in map(dict, (one.metrics for one in results)) if "eval_return_mean" in row] == [
            5,
            10,
        ]
        assert not any(one.reports for one in results)
        assert run.describe().startswith(f"learning from {dataset}; evaluations on CartPole-v1: 1 collector x 4 envs")
    assert (tmp_path / "run" / "best_policy").is_dir()
    without = config(dataset)
    with (
        TrainingRun(without, serial=True, run_dir=tmp_path / "without") as run,
        pytest.raises(ConfigError, match="no coll"),
    ):
        run.evaluate(3)


def test_behavioural_cloning_reaches_the_expert(tmp_path: Path) -> None:
    expert = write(tmp_path / "expert", "CartPole-v1", cartpole_expert, num_steps=500)
    settings = config(
        expert,
        total_steps=2_000,
        eval_episodes=20,
        envs_per_collector=20,
        jit_compile=True,
        network=NetworkConfig(actor_units=(32, 32)),
        agent=BehavioralCloningConfig(batch_size=128, learning_rate=3e-3, updates_per_call=200),
    )
    with TrainingRun(settings, serial=True, run_dir=tmp_path / "run") as run:
        run.run()
    assert float(read_metrics(tmp_path / "run")[-1]["eval_return_mean"]) > 490.0
