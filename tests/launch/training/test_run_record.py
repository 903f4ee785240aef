"""The observers that write run.json, evaluations.csv and worker_times.csv, without a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import ConfigError, DistPolicyError
from launch.config.train import TrainConfig, load_train_config
from launch.output.growing_table import read_table
from launch.output.run_directory import RunDirectory
from launch.training.observer import Observers, RunAbandoned, RunEnd
from launch.training.run_record import EvaluationTable, RunRecord, WorkerTimes
from launch.training.totals import TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluationResult
from workers.collection.rollout_report import RolloutReport


def totals(update: int, seconds_of_update: float = 10.0, **more: Any) -> TrainingTotals:
    return TrainingTotals(updates=update, env_steps=100 * update, train_s=seconds_of_update * update, **more)


def observed(folder: Path, update: int = 0, config: TrainConfig | None = None, preset: str | None = None) -> Observers:
    """The observers, told of the start of a run in a folder that has come to an update."""
    told = Observers([RunRecord(preset), EvaluationTable(), WorkerTimes()])
    run: Any = SimpleNamespace(
        directory=RunDirectory(folder),
        totals=totals(update),
        config=config or TrainConfig(),
        generation=int(update > 0),
        warm_up_s=2.5,
    )
    told.on_start(run)
    return told


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def evaluation(*returns: float) -> EvaluationResult:
    size = len(returns)
    return EvaluationResult(list(returns), [7] * size, [True] + [False] * (size - 1), [{}] * size)


@pytest.mark.parametrize(
    ("error", "solved", "state"),
    [
        (None, False, "ended"),
        (None, True, "solved"),
        (KeyboardInterrupt(), True, "interrupted"),
        (RunAbandoned(), False, "stopped"),
        (DistPolicyError("the disk\nis full"), False, "failed"),
    ],
)
def test_the_record_says_how_a_run_was_started_and_has_ended(
    error: BaseException | None, solved: bool, state: str, tmp_path: Path
) -> None:
    observers = observed(tmp_path)
    begun = record(tmp_path)
    assert "end" not in begun
    assert begun["starts"][0]["versions"]["numpy"]
    assert begun["titles"] == dict(PPOConfig.metrics)
    observers.on_trained(totals(3))
    observers.on_end(RunEnd(totals(3, solved=solved), error, peak_memory_bytes={"driver": 5}))
    ended = record(tmp_path)
    assert {name: value for name, value in ended.items() if name != "end"} == begun
    end = ended["end"]
    assert (end["state"], end["updates"], end["warm_up_s"], end["peak_memory_bytes"]) == (state, 3, 2.5, {"driver": 5})
    assert end.get("error") == ("DistPolicyError: the disk is full" if state == "failed" else None)


def test_a_resumed_run_adds_its_start_and_has_no_end_until_it_ends(tmp_path: Path) -> None:
    observed(tmp_path).on_end(RunEnd(totals(3), KeyboardInterrupt()))
    observed(tmp_path, update=3)
    found = record(tmp_path)
    assert "end" not in found
    assert [(one["generation"], one["updates"], one["train_s"]) for one in found["starts"]] == [(0, 0, 0), (1, 3, 30)]


def test_a_run_that_goes_on_with_other_settings_has_them_in_its_config(
    tmp_path: Path,
) -> None:
    config = TrainConfig(total_steps=5, agent=PPOConfig(learning_rate=0.5))
    observed(tmp_path, config=config).on_end(RunEnd(totals(3), KeyboardInterrupt()))
    assert load_train_config(tmp_path / "config.yaml") == config
    longer = dataclasses.replace(config, total_steps=7, agent=PPOConfig(learning_rate=0.25))
    observed(tmp_path, update=3, config=longer).on_end(RunEnd(totals(4), KeyboardInterrupt()))
    observed(tmp_path, update=4, config=longer)
    assert load_train_config(tmp_path / "config.yaml") == longer
    changes = [start.get("changed") for start in record(tmp_path)["starts"]]
    assert changes == [None, {"total_steps": [5, 7], "ppo.learning_rate": [0.5, 0.25]}, None]


def test_settings_are_compared_with_the_preset(tmp_path: Path) -> None:
    config = TrainConfig(seed=5, agent=PPOConfig(learning_rate=0.5))
    observed(tmp_path, config=config)
    found = record(tmp_path)
    assert found["preset"] == "cartpole-ppo"
    assert found["changed"]["seed"] == 0
    assert "ppo.learning_rate" in found["changed"]
    other = tmp_path / "other"
    other.mkdir()
    observed(other, config=dataclasses.replace(config, target_return=500.0), preset="lunarlander-ppo")
    found = record(other)
    assert found["preset"] == "lunarlander-ppo"
    assert found["changed"]["target_return"] == 270.0


def test_a_preset_that_is_gone_is_replaced_when_a_run_goes_on(tmp_path: Path) -> None:
    observed(tmp_path).on_end(RunEnd(totals(3), KeyboardInterrupt()))
    (tmp_path / "run.json").write_text(json.dumps({**record(tmp_path), "preset": "of-a-later-version"}))
    observed(tmp_path, update=3)
    assert record(tmp_path)["preset"] == "cartpole-ppo"
    with pytest.raises(ConfigError, match=r"unknown preset 'cartpole-pp'; .*did you mean cartpole-ppo"):
        RunRecord("cartpole-pp")


def test_evaluations_are_rows_and_void_ones_go(tmp_path: Path) -> None:
    observers = observed(tmp_path)
    for update in (2, 4, 6):
        observers.on_evaluation(evaluation(1.0, 2.0, 6.0), totals(update))
    rows = read_table(tmp_path / "evaluations.csv")
    assert rows[0] == {
        **{"update": "2", "steps": "200", "train_s": "20", "policy": "greedy", "episodes": "3", "return_mean": "3"},
        **{"return_half": "6.57294", "return_min": "1", "return_max": "6", "length_mean": "7", "num_cut": "1"},
        "num_repeated": "0",
    }
    observers.on_rollback(totals(5))
    observers.on_evaluation(evaluation(1.0), totals(6))
    observers.on_end(RunEnd(totals(6)))
    again = observed(tmp_path, update=4)
    again.on_evaluation(evaluation(1.0), totals(5))
    assert [row["update"] for row in read_table(tmp_path / "evaluations.csv")] == ["2", "4", "5"]
    again.on_end(RunEnd(totals(5)))


def test_a_run_without_evaluations_has_no_table(tmp_path: Path) -> None:
    observed(tmp_path).on_end(RunEnd(totals(0)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "run.json"]


def update_of(update: int, seconds: float, num_collectors: int = 2) -> UpdateResult:
    reports = [
        RolloutReport(index, 0, update, None, 5, [], [], [], 0.2, 0.1, 0.5, 0.4, 0.0) for index in range(num_collectors)
    ]
    metrics = {"update_s": 0.6, "learner_wait_s": 0.3, "learner_other_s": 0.1}
    return UpdateResult(totals(update, seconds), metrics, 0.0, reports)


def test_the_times_of_workers_add_up(tmp_path: Path) -> None:
    observers = observed(tmp_path)
    for update in range(1, 51):
        observers.on_update(update_of(update, seconds=0.25))
    observers.on_end(RunEnd(totals(50)))
    rows = read_table(tmp_path / "worker_times.csv")
    names = ["learner", "collector 0", "collector 1"]
    assert [row["worker"] for row in rows[:3]] == names
    assert [(row["begin_s"], row["end_s"]) for row in rows[:6:3]] == [("0", "1"), ("1", "2")]
    sums = {
        name: {
            column: round(sum(float(row[column] or 0) for row in rows if row["worker"] == name), 3)
            for column in ("env_s", "policy_s", "learn_s", "other_s", "wait_s")
        }
        for name in names
    }
    collector = {"env_s": 10.0, "policy_s": 5.0, "learn_s": 0.0, "other_s": 10.0, "wait_s": 20.0}
    learner = {"env_s": 0.0, "policy_s": 0.0, "learn_s": 30.0, "other_s": 5.0, "wait_s": 15.0}
    assert sums == {"learner": learner, "collector 0": collector, "collector 1": collector}


def test_the_time_after_the_checkpoint_that_a_run_goes_on_from_is_there_once(tmp_path: Path) -> None:
    observers = observed(tmp_path)
    for update in range(1, 9):
        observers.on_update(update_of(update, seconds=10.0))
    # It is killed, and its newest checkpoint is of update 5. A damaged row goes, too.
    file = tmp_path / "worker_times.csv"
    file.write_text(file.read_text().replace("collector 1,10,20,", "collector 1,10,twenty,"))
    again = observed(tmp_path, update=5)
    for update in range(6, 8):
        again.on_update(update_of(update, seconds=10.0))
    again.on_end(RunEnd(totals(7)))
    rows = read_table(file)
    found = [(row["begin_s"], row["end_s"]) for row in rows if row["worker"] == "learner"]
    assert found == [(str(10 * second), str(10 * second + 10)) for second in range(7)]
    assert sum(row["worker"] == "collector 1" for row in rows) == 6


def test_the_table_of_times_stays_small(tmp_path: Path) -> None:
    observers = observed(tmp_path, config=TrainConfig(collectors=40))
    for update in range(1, 3001):
        observers.on_update(update_of(update, seconds=10.0, num_collectors=1))
    observers.on_end(RunEnd(totals(3000)))
    rows = read_table(tmp_path / "worker_times.csv")
    assert {row["worker"] for row in rows} == {"learner", "40 collectors"}
    assert len(rows) < 1400


def test_a_table_that_a_crash_has_cut_off_goes_on(tmp_path: Path) -> None:
    observers = observed(tmp_path)
    for update in range(1, 9):
        observers.on_update(update_of(update, seconds=1.0))
    file = tmp_path / "worker_times.csv"
    file.write_bytes(file.read_bytes()[:-5])
    before = read_table(file)
    again = observed(tmp_path, update=8)
    again.on_update(update_of(9, seconds=10.0))
    again.on_end(RunEnd(totals(9)))
    assert read_table(file)[: len(before)] == before
    assert len(read_table(file)) == len(before) + 3
