"""The observers that write a run directory, without a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_disk import small_disk
from training_runs import faults

from distpolicy.errors import DistPolicyError
from launch.config.train import TrainConfig
from launch.output.metrics import RUN_COLUMNS, read_rows
from launch.output.run_directory import RunDirectory
from launch.supervision.faults import RunFault
from launch.training.observer import Observers, RunEnd, TrainingObserver
from launch.training.run_files import FaultFiles, MetricsTable, TensorBoardEvents
from launch.training.totals import TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluationResult


def totals(update: int) -> TrainingTotals:
    return TrainingTotals(updates=update, env_steps=100 * update)


def result(update: int, **metrics: Any) -> UpdateResult:
    return UpdateResult(totals(update), {"update": update, "env_steps": 100 * update, **metrics}, 0.0, [])


def run_at(folder: Path, update: int = 0) -> Any:
    """A run in a folder that has come to an update; its training began at the clock time 1,000."""
    return SimpleNamespace(
        directory=RunDirectory(folder),
        totals=totals(update),
        config=TrainConfig(),
        train_s_at=lambda clock_s: clock_s - 1000.0,
    )


def started(folder: Path, observers: Sequence[TrainingObserver], update: int = 0) -> Observers:
    """Observers of a run in a folder that has come to an update."""
    told = Observers(observers)
    told.on_start(run_at(folder, update))
    return told


def events(path: Path) -> Iterator[Any]:
    """The TensorBoard events in a file, which has to be whole."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    data = path.read_bytes()
    while data:
        size = int.from_bytes(data[:8], "little")
        assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
        assert int.from_bytes(data[12 + size : 16 + size], "little") == masked_crc32c(data[12 : 12 + size])
        yield Event.FromString(data[12 : 12 + size])
        data = data[16 + size :]


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """Every scalar in the TensorBoard events: tag, step and value."""
    return [
        (value.tag, event.step, value.simple_value)
        for path in sorted(folder.glob("events.out.tfevents.*"))
        for event in events(path)
        for value in event.summary.value
        if value.HasField("simple_value")
    ]


def steps_of_scalars(found: Sequence[Any]) -> list[int]:
    return [event.step for event in found if any(value.HasField("simple_value") for value in event.summary.value)]


def write_on(observers: Observers) -> None:
    for update in range(1, 10_000):
        observers.on_update(result(update, **dict.fromkeys(RUN_COLUMNS[2:], 1 / 3)))


def test_a_full_disk_is_one_line_that_names_the_file_and_leaves_both_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k") as disk:
        observers = started(disk, [MetricsTable(), TensorBoardEvents()])
        with pytest.raises(
            DistPolicyError, match=rf"^cannot write {disk}/(metrics|events).*: No space left on device$"
        ):
            write_on(observers)
        # It may have no place for the last event either. A run raises the first error alone.
        with contextlib.suppress(DistPolicyError):
            observers.on_end(RunEnd(totals(1)))
        rows = read_rows(disk / "metrics.csv")
        assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
        assert (disk / "metrics.csv").read_bytes().endswith(b"\r\n")
        num_events = len({step for _, step, _ in scalars(disk)})  # reads to the end
        assert 10 < num_events <= len(rows) <= num_events + 1


def test_tensorboard_has_the_same_figures_by_env_steps(tmp_path: Path) -> None:
    observers = started(tmp_path, [TensorBoardEvents()])
    observers.on_update(result(1, entropy=0.5, policy_lag=np.float64(0.0), return_mean_100=17.0, steps_per_s=2e3))
    observers.on_update(result(2, entropy=0.25))
    observers.on_evaluation(EvaluationResult([1.0, 2.0, 6.0], [1, 1, 1], [False] * 3, [{}] * 3), totals(2))
    observers.on_end(RunEnd(totals(2)))
    half = 4.303 * np.std([1.0, 2.0, 6.0], ddof=1) / np.sqrt(3)
    expected = {
        ("train/entropy", 100): 0.5,
        ("train/entropy", 200): 0.25,
        ("train/policy_lag", 100): 0.0,
        ("train/return_mean_100", 100): 17.0,
        ("train/steps_per_s", 100): 2e3,
        ("evaluation/length_mean", 200): 1.0,
        ("evaluation/return_mean", 200): 3.0,
        ("evaluation/return_low", 200): 3.0 - half,
        ("evaluation/return_high", 200): 3.0 + half,
        # Where users of Stable-Baselines3 look,
        ("rollout/ep_rew_mean", 100): 17.0,
        ("train/entropy_loss", 100): -0.5,
        ("train/entropy_loss", 200): -0.25,
        ("time/fps", 100): 2e3,
        ("time/iterations", 100): 1.0,
        ("time/iterations", 200): 2.0,
        ("time/total_timesteps", 100): 100.0,
        ("time/total_timesteps", 200): 200.0,
        ("eval/mean_reward", 200): 3.0,
        ("eval/mean_ep_length", 200): 1.0,
        # and of RLlib.
        ("env_runners/episode_return_mean", 100): 17.0,
        ("num_env_steps_sampled_lifetime", 100): 100.0,
        ("num_env_steps_sampled_lifetime", 200): 200.0,
        ("training_iteration", 100): 1.0,
        ("training_iteration", 200): 2.0,
    }
    found = {(tag, step): value for tag, step, value in scalars(tmp_path)}
    assert found == pytest.approx(expected)


@pytest.mark.slow
def test_tensorboard_reads_settings_text_and_intervals(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
    from tensorboard.plugins.hparams import metadata

    observers = started(tmp_path, [TensorBoardEvents()])
    observers.on_update(result(1, return_mean_100=17.0))
    observers.on_end(RunEnd(totals(1)))
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert read.Scalars("rollout/ep_rew_mean")[0].value == 17.0
    (text,) = read.Tensors("config/text_summary")
    assert b"env: CartPole-v1" in text.tensor_proto.string_val[0]
    contents = read.PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(contents["_hparams_/session_start_info"])
    assert start.hparams["agent.learning_rate"].number_value == TrainConfig().agent.learning_rate  # type: ignore[attr-defined]
    assert start.hparams["env"].string_value == "CartPole-v1"
    assert start.hparams["jit_compile"].bool_value
    experiment = metadata.parse_experiment_plugin_data(contents["_hparams_/experiment"])
    assert "eval/mean_reward" in [info.name.tag for info in experiment.metric_infos]
    assert metadata.parse_session_end_info_plugin_data(contents["_hparams_/session_end_info"]).status == 1  # SUCCESS
    (layout,) = read.Tensors("custom_scalars__config__")
    chart = Layout.FromString(layout.tensor_proto.string_val[0]).category[0].chart[0]
    assert chart.margin.series[0].lower == "evaluation/return_low"


def test_tensorboard_is_told_to_forget_what_a_resumed_run_writes_again(tmp_path: Path) -> None:
    for updates in (range(1, 6), range(4, 7)):
        observers = started(tmp_path, [TensorBoardEvents()], update=updates[0] - 1)
        for update in updates:
            observers.on_update(result(update, entropy=0.5))
        observers.on_end(RunEnd(totals(updates[-1])))
    first, second = (list(events(path)) for path in sorted(tmp_path.glob("events.out.tfevents.*")))
    assert [event.file_version for event in (first[0], second[0])] == ["brain.Event:2"] * 2
    assert not any(event.HasField("session_log") for event in first)
    assert (second[1].session_log.status, second[1].step) == (1, 301)  # SessionLog.START
    assert steps_of_scalars(second) == [400, 500, 600]


def test_after_a_rollback_rows_and_events_are_written_again(tmp_path: Path) -> None:
    observers = started(tmp_path, [MetricsTable(), TensorBoardEvents()])
    for update in range(1, 6):
        observers.on_update(result(update, entropy=1.0))
    observers.on_rollback(totals(3))
    observers.on_update(result(4, entropy=2.0))
    observers.on_end(RunEnd(totals(4)))
    assert [row["entropy"] for row in read_rows(tmp_path / "metrics.csv")] == ["1", "1", "1", "2"]
    _, second = (list(events(path)) for path in sorted(tmp_path.glob("events.out.tfevents.*")))
    assert second[1].step == 301
    assert steps_of_scalars(second) == [400]


def test_a_metric_of_an_observers_own_is_a_column(tmp_path: Path) -> None:
    observers = started(tmp_path, [MetricsTable(["mine"])])
    observers.on_update(result(1, mine=0.5))
    observers.on_end(RunEnd(totals(1)))
    (row,) = read_rows(tmp_path / "metrics.csv")
    assert row["mine"] == "0.5"
    assert set(RUN_COLUMNS) < set(row)


def test_evaluations_and_numbers_of_infos_become_columns_when_they_come(tmp_path: Path) -> None:
    observers = started(tmp_path, [MetricsTable()])
    observers.on_update(result(1))
    observers.on_update(result(2, **{"info/is_success": 0.5}))
    observers.on_update(result(3, eval_return_mean=4.0, eval_length_mean=2.0))
    during = EvaluationResult([4.0], [2], [False], [{}])
    observers.on_evaluation(during, totals(3))
    last = EvaluationResult([5.0, 7.0], [2, 3], [False] * 2, [{"is_success": 1.0}, {}], policy="stochastic")
    observers.on_evaluation(last, totals(3))
    observers.on_end(RunEnd(totals(3)))
    rows = read_rows(tmp_path / "metrics.csv")
    assert [row["info/is_success"] for row in rows] == ["", "0.5", ""]
    assert [row["eval_return_mean"] for row in rows] == ["", "", "4"]
    assert [row["eval_stochastic_return_mean"] for row in rows] == ["", "", "6"]
    assert rows[-1]["eval_stochastic_info/is_success"] == "1"


def test_a_fault_is_a_row_once_it_is_over_and_at_the_end(tmp_path: Path) -> None:
    observers = started(tmp_path, [FaultFiles()], update=7)
    lost = RunFault("collector 0", "it was killed", 64, name="generation0-collector0", stacks="in step")
    observers.on_fault(lost)
    assert not faults(tmp_path)
    assert (tmp_path / "faults" / "generation0-collector0.txt").read_text().startswith(lost.line)
    observers.on_recovery(lost.recovered())
    observers.on_fault(RunFault("env slot 3", "raised", recovery_s=0.0))
    observers.on_end(RunEnd(totals(7), open_faults=[RunFault("collector 1", "it was killed")]))
    rows = faults(tmp_path)
    assert [row["what"] for row in rows] == ["collector 0", "env slot 3", "collector 1"]
    assert [bool(row["recovery_s"]) for row in rows] == [True, True, False]
    assert {row["update"] for row in rows} == {"7"}


def test_a_lost_learners_row_is_of_when_it_was_noticed_and_not_of_the_checkpoint_that_the_run_went_back_to(
    tmp_path: Path,
) -> None:
    observers, run = Observers([FaultFiles()]), run_at(tmp_path, update=7)
    observers.on_start(run)
    lost = RunFault("learner", "it was killed", 250, noticed=1052.0)
    observers.on_fault(lost)
    run.totals = totals(5)
    observers.on_rollback(run.totals)
    observers.on_recovery(lost.recovered())
    (row,) = faults(tmp_path)
    assert (row["update"], row["steps"], row["train_s"]) == ("7", "700", "52.000")


def test_rows_of_faults_of_an_earlier_version_stay_beside_later_ones(tmp_path: Path) -> None:
    (tmp_path / "faults.csv").write_text("time,update,what,reason\n1000,3,collector 1,it was killed\n")
    observers = started(tmp_path, [FaultFiles()], update=7)
    observers.on_fault(RunFault("env slot 3", "raised", recovery_s=0.0, noticed=1052.0))
    found = [(row["what"], row["update"], row["train_s"], row["recovery_s"]) for row in faults(tmp_path)]
    assert found == [("collector 1", "3", "", ""), ("env slot 3", "7", "52.000", "0.000")]
