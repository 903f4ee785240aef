"""Evaluations of a run, what they leave, and what a run directory has before the run is over."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from commands import read_metrics

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.networks.network_config import NetworkConfig
from launch import TrainConfig, TrainingObserver, TrainingRun
from launch.reports.run_data import read_run
from launch.supervision.faults import RunFault
from launch.training.totals import TrainingTotals
from workers.collection.evaluator import EvaluationResult

pytestmark = pytest.mark.usefixtures("local_ray")

STEPS_PER_UPDATE = 64
CONFIG = TrainConfig(
    collectors=2,
    envs_per_collector=4,
    rollout_steps=8,
    vectorization="sync",
    jit_compile=False,
    eval_episodes=10,
    network=NetworkConfig(actor_units=(8,)),
    agent=PPOConfig(value_units=(8,), num_epochs=1, num_minibatches=2),
)


class Likes(gym.Env):
    """Gives 1 for action 1 and 0 for action 0 in each of five steps, and tells at the end whether all were 1."""

    observation_space = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count = self.total = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        self.total += int(action)
        has_ended = self.count == 5
        info = {"is_success": self.total == 5} if has_ended else {}
        return np.full(2, self.count / 5, np.float32), float(action), has_ended, False, info


class FailsBesideOthers(Likes):
    """The fifth environment of a process and all later ones do not keep to Gymnasium's interface."""

    def __init__(self) -> None:
        # Counted for the process: each copy of the class that is sent to a worker has attributes of its own.
        num_made = int(os.environ.get("NUM_MADE", "0")) + 1
        os.environ["NUM_MADE"] = str(num_made)
        self.is_sound = num_made <= 4

    def step(self, action: Any) -> Any:
        result = super().step(action)
        return result if self.is_sound else result[:4]


class Recorder(TrainingObserver):
    def __init__(self) -> None:
        self.evaluations: list[tuple[int, EvaluationResult]] = []
        self.faults: list[RunFault] = []

    def on_fault(self, fault: RunFault) -> None:
        self.faults.append(fault)

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        self.evaluations.append((totals.updates, result))


def config(num_updates: int, **changes: Any) -> TrainConfig:
    # Each environment takes a step that only resets after five others.
    return dataclasses.replace(CONFIG, total_steps=num_updates * STEPS_PER_UPDATE * 5 // 6, **changes)


def test_evaluations_during_training_are_in_the_metrics_and_the_best_policy_is_kept(tmp_path: Path) -> None:
    recorder = Recorder()
    with TrainingRun(config(7, eval_every=2), [recorder], tmp_path / "run", env=Likes) as run:
        totals = run.run()
        weights = run.evaluate(10)
    last = totals.updates
    expected = [*range(2, last + 1, 2), last]
    assert [update for update, result in recorder.evaluations if result.policy == "greedy"] == expected
    assert [update for update, result in recorder.evaluations if result.policy == "stochastic"] == expected
    assert weights == recorder.evaluations[-2][1], "the same weights and seeds give the same result"

    rows = read_metrics(run.directory.path)
    for update, result in recorder.evaluations:
        name = "eval_return_mean" if result.policy == "greedy" else "eval_stochastic_return_mean"
        assert float(rows[update - 1][name]) == pytest.approx(np.mean(result.returns), rel=1e-5)
        assert (result.lengths, result.num_cut) == ([5] * 10, 0)
        success = float(np.mean([total == 5.0 for total in result.returns]))
        assert result.info_means == {"is_success": success}
    assert all(not row["eval_return_mean"] for row in rows[::2] if int(row["update"]) != last)
    assert any(row["info/is_success"] for row in rows)

    assert totals.best_evaluation is not None
    best = max(np.mean(result.returns) for _, result in recorder.evaluations)
    assert best == run.totals.best_evaluation
    for name in ("policy", "collect_policy", "best_policy", "best_collect_policy"):
        assert (run.directory.path / name / "saved_model.pb").is_file()
    read = read_run(run.directory.path)
    assert [(int(row["update"]), row["policy"], int(row["episodes"])) for row in read.evaluations] == [
        (update, result.policy, 10) for update, result in recorder.evaluations
    ]
    for row, (_, result) in zip(read.evaluations, recorder.evaluations, strict=True):
        assert float(row["return_mean"]) == pytest.approx(np.mean(result.returns), rel=1e-5)


@pytest.mark.slow
def test_evaluations_do_not_change_what_is_learned(tmp_path: Path) -> None:
    states = []
    for name, changes in (("plain", {}), ("evaluated", {"eval_every": 1, "checkpoint_every": 2})):
        with TrainingRun(config(4, **changes), run_dir=tmp_path / name, env=Likes) as run:
            run.run()
            states.append(run._trainer.learner_state())
    assert states[0].keys() == states[1].keys()
    for path, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][path])


@pytest.mark.slow
def test_training_goes_on_without_an_evaluation_whose_environments_fail(tmp_path: Path) -> None:
    recorder = Recorder()
    changes = {"collectors": 1, "eval_every": 2, "eval_episodes": 4}
    with TrainingRun(config(3, **changes), [recorder], tmp_path / "run", env=FailsBesideOthers) as run:
        totals = run.run()
    assert totals.updates >= 4
    assert [int(row["update"]) for row in read_metrics(run.directory.path)] == list(range(1, totals.updates + 1))
    lines = [fault.line for fault in recorder.faults]
    assert len(lines) == totals.updates // 2
    assert lines[0].startswith("the evaluation of update 2 was left out: env ")
    # The one at the end uses the environments of the rollouts, which are sound.
    assert {update for update, _ in recorder.evaluations} == {totals.updates}


@pytest.mark.slow
def test_a_run_directory_has_policies_and_report_from_its_first_checkpoint_on(tmp_path: Path) -> None:
    from distpolicy.policies import policy_loader

    with TrainingRun(config(50, checkpoint_every=2, eval_episodes=0), run_dir=tmp_path / "run", env=Likes) as run:
        seen = []
        for result in run:
            path = run.directory.path
            assert (path / "policy").is_dir() == (result.totals.updates >= 2)
            if result.totals.updates == 1:
                assert not run.directory.report_file.exists()
            if result.totals.updates in (2, 4):
                seen.append(policy_loader.load(str(path / "policy")).variables()[0].numpy())
            if result.totals.updates == 4:
                break
        deadline = time.monotonic() + 120.0
        while not run.directory.report_file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert run.directory.report_file.exists(), "a process of its own writes it while the run goes on"
        assert not np.array_equal(*seen), "a later checkpoint brings a later policy"


@pytest.mark.slow
def test_checkpoints_and_evaluations_may_come_by_time(tmp_path: Path) -> None:
    recorder = Recorder()
    changes = {"checkpoint_every": "0.01s", "eval_every": "0.01s", "eval_episodes": 2, "keep_checkpoints": 100}
    with TrainingRun(config(4, **changes), [recorder], tmp_path / "run", env=Likes) as run:
        totals = run.run()
    # The workers were up for longer than that before the first update.
    assert {1, totals.updates} <= {update for update, _ in recorder.evaluations}
    assert "00000001" in {path.name for path in run.directory.checkpoints.iterdir()}
