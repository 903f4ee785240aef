"""Evaluations of a run, what they leave, and what a run directory has before the run is over."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
import pytest
from commands import read_metrics

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import EnvironmentCrashedError
from distpolicy.networks.network_config import NetworkConfig
from launch import TrainConfig, TrainingObserver, TrainingRun
from launch.reports.run_data import read_run
from launch.supervision import calls
from launch.supervision.faults import RunFault
from launch.training.evaluation import PoolEvaluator
from launch.training.pending_update import PendingEpisodes, PendingEvaluation
from launch.training.totals import TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluationJob, EvaluationResult
from workers.collection.rollout_report import RolloutReport
from workers.environments import deadline

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


class HangsInAnEvaluation(Likes):
    """The fifth environment of a process and all later ones hang in their first step, until one has done so.

    Args:
        marker: File that says that one has hung.
    """

    def __init__(self, marker: str) -> None:
        self.marker = Path(marker)
        num_made = int(os.environ.get("NUM_MADE", "0")) + 1
        os.environ["NUM_MADE"] = str(num_made)
        self.is_extra = num_made > 4

    def step(self, action: Any) -> Any:
        if self.is_extra and not self.marker.exists():
            self.marker.touch()
            time.sleep(300.0)
        return super().step(action)


class HangsWhenMade(Likes):
    """Its constructor or its close hangs while an environment variable says so."""

    def __init__(self) -> None:
        self.hang("constructor")

    def hang(self, call: str) -> None:
        if os.environ.get("HANGS_IN") == call:
            time.sleep(60.0)

    def close(self) -> None:
        self.hang("close")


class Tells(Likes):
    """Tells numbers at the end of an episode."""

    def step(self, action: Any) -> Any:
        observation, reward, has_ended, truncated, _ = super().step(action)
        info = {"distance": np.float32(2.5), "other": 1.0, "steps": self.count}
        return observation, reward, has_ended, truncated, info if has_ended else {}


class Counts(Likes):
    """Counts how many environments there are at a time, in variables of the process."""

    def __init__(self) -> None:
        self.count_open(1)

    def count_open(self, more: int) -> None:
        now = int(os.environ.get("NUM_OPEN", "0")) + more
        os.environ["NUM_OPEN"] = str(now)
        os.environ["MOST_OPEN"] = str(max(now, int(os.environ.get("MOST_OPEN", "0"))))

    def close(self) -> None:
        self.count_open(-1)


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
def test_numbers_of_the_info_are_columns_with_their_means(tmp_path: Path) -> None:
    recorder = Recorder()
    changes: dict[str, Any] = {"collectors": 1, "eval_every": 2, "info_metrics": ("distance", "steps")}
    with TrainingRun(config(3, **changes), [recorder], tmp_path / "run", env=Tells, serial=True) as run:
        run.run()
    rows = [row for row in read_metrics(run.directory.path) if row["episode_return"]]
    assert rows
    assert {name for name in rows[0] if name.startswith("info/")} == {"info/distance", "info/steps"}
    # Means over the episodes of an update, which all tell the same.
    assert {(float(row["info/distance"]), float(row["info/steps"])) for row in rows} == {(2.5, 5.0)}
    assert [result.info_means for _, result in recorder.evaluations] == [
        {"distance": 2.5, "steps": 5.0} for _ in recorder.evaluations
    ]
    evaluated = [row for row in read_metrics(run.directory.path) if row["eval_return_mean"]]
    assert {row["eval_info/distance"] for row in evaluated} == {"2.5"}
    assert not any(name.endswith("/other") for name in rows[0])


@pytest.mark.slow
@pytest.mark.parametrize(("eval_envs", "num_beside"), [(None, 4), (2, 2)])
def test_an_evaluation_has_as_many_environments_as_the_collector_or_as_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eval_envs: int | None, num_beside: int
) -> None:
    monkeypatch.setenv("NUM_OPEN", "0")
    monkeypatch.setenv("MOST_OPEN", "0")
    changes: dict[str, Any] = {"collectors": 1, "eval_every": 2, "eval_envs": eval_envs}
    recorder = Recorder()
    with TrainingRun(config(3, **changes), [recorder], tmp_path / "run", env=Counts, serial=True) as run:
        totals = run.run()
    assert {update for update, _ in recorder.evaluations} == {*range(2, totals.updates + 1, 2), totals.updates}
    assert all(len(result.returns) == 10 for _, result in recorder.evaluations)
    # Beside the four of the rollouts.
    assert int(os.environ["MOST_OPEN"]) == 4 + num_beside
    assert int(os.environ["NUM_OPEN"]) == 0


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
def test_a_collector_that_hangs_in_an_evaluation_is_replaced_and_the_evaluation_is_played(tmp_path: Path) -> None:
    recorder = Recorder()
    changes: dict[str, Any] = {"collectors": 1, "eval_every": 2, "eval_episodes": 4, "step_timeout_s": 3.0}
    changes["env_kwargs"] = {"marker": str(tmp_path / "marker")}
    with TrainingRun(config(3, **changes), [recorder], tmp_path / "run", env=HangsInAnEvaluation) as run:
        totals = run.run()
    assert {update for update, _ in recorder.evaluations} == {*range(2, totals.updates + 1, 2), totals.updates}
    (fault,) = recorder.faults
    assert "collector 0 (env slots 0 to 3) was lost: hung in step " in fault.line
    assert "took more than 3 s (step_timeout_s)" in fault.line


@pytest.mark.slow
@pytest.mark.parametrize(("where", "told"), [("constructor", "its constructor"), ("close", "close")])
def test_an_evaluation_whose_environments_hang_when_they_are_made_or_closed_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, told: str
) -> None:
    monkeypatch.setenv("HANGS_IN", "")
    for name in ("START_TIMEOUT_S", "CLOSE_TIMEOUT_S"):
        monkeypatch.setattr(deadline, name, 1.0)

    class Hanging(TrainingObserver):
        def on_update(self, result: UpdateResult) -> None:
            os.environ["HANGS_IN"] = where

    changes = {"collectors": 1, "eval_every": 2, "eval_episodes": 4, "step_timeout_s": 1.0}
    expected = f"hung in {told}: no answer within 1 s; raise step_timeout_s if it needs longer"
    # In this process, where the limits can be short. A serial run ends by an error of an evaluation.
    with TrainingRun(config(9, **changes), [Hanging()], tmp_path / "run", env=HangsWhenMade, serial=True) as run:
        with pytest.raises(EnvironmentCrashedError, match=expected):
            run.run()
        os.environ["HANGS_IN"] = ""


def test_what_an_evaluation_may_take_is_measured_by_rollouts(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def get(reference: Any, timeout_s: float) -> EvaluationResult:
        limits.append(timeout_s)
        return EvaluationResult([1.0], [1], [False], [{}])

    monkeypatch.setattr(calls, "get", get)
    config = dataclasses.replace(CONFIG, timeout_s=100.0, eval_max_episode_steps=1000)
    evaluator = PoolEvaluator(config, *[cast("Any", None)] * 3)
    report = RolloutReport(0, 0, 0, None, 32, [], [], [], 0.0, 0.0, total_s=0.8, wait_s=0.0, first_step_time=0.0)
    for num_envs in (None, 2, 8):
        job = EvaluationJob(8, num_envs=num_envs, max_episode_steps=1000)
        evaluator.note_rollouts([report])
        evaluator.settle(PendingEvaluation(None, [PendingEpisodes(job, cast("Any", None), None)]))
    # A step of four environments took 0.1 s. Two rounds of 1000 steps of four, four of two, and one of eight.
    assert limits == pytest.approx([100.0 + 10 * 200.0, 100.0 + 10 * 400.0, 100.0 + 10 * 200.0])


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
