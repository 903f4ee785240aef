"""Run directories as runs leave them, written without a run."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from launch.config.train import TrainConfig
from launch.output.metrics import MetricsFile
from launch.output.run_directory import RunDirectory
from launch.supervision.faults import FaultTable, RunFault
from launch.training.observer import RunEnd
from launch.training.run_record import EvaluationTable, RunRecord, WorkerTimes
from launch.training.totals import TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluationResult
from workers.collection.rollout_report import RolloutReport

STEPS = 128


def totals(update: int, **more: Any) -> TrainingTotals:
    return TrainingTotals(updates=update, env_steps=STEPS * update, train_s=2.0 * update, **more)


def report_of(collector: int, update: int) -> RolloutReport:
    return RolloutReport(
        *(collector, 0, update, None, STEPS // 2, [], [], []), env_s=0.5, policy_s=0.3, total_s=1.0, wait_s=1.0,
        first_step_time=0.0,
    )  # fmt: skip


def write_run(
    path: Path,
    num_updates: int = 40,
    config: TrainConfig | None = None,
    returns: np.ndarray | None = None,
    more: Mapping[str, Any] | None = None,
    ends: bool = True,
    num_faults: int = 0,
) -> RunDirectory:
    """Writes a run directory by the observers of a run.

    Args:
        path: The run directory.
        num_updates: Number of updates.
        config: Settings of the run.
        returns: The mean return after each update; None for a line.
        more: Further metrics of every update.
        ends: Whether the run has ended.
        num_faults: Number of faults.
    """
    config = config or TrainConfig(seed=3, target_return=475.0, total_steps=STEPS * max(num_updates, 1))
    directory = RunDirectory.create(path, config.env)
    values = np.linspace(10.0, 400.0, num_updates) if returns is None else returns
    run: Any = SimpleNamespace(directory=directory, config=config, totals=totals(0), generation=0, warm_up_s=1.5)
    record, evaluations, times = observers = RunRecord(), EvaluationTable(), WorkerTimes()
    for observer in observers:
        observer.on_start(run)
    metrics = MetricsFile(directory.metrics_file, tuple(config.agent.metrics))
    for update in range(1, num_updates + 1):
        row = {"update": update, "env_steps": STEPS * update, "train_s": 2.0 * update, "episodes": update}
        row |= {"return_mean_100": float(values[update - 1]), "episode_return": float(values[update - 1]) + 5.0}
        row |= {"steps_per_s": 64.0, "env_s": 0.5, "episode_length": 20.0, "loss": 1.0 / update, "entropy": 0.5}
        row |= {"update_s": 0.4, "learner_wait_s": 1.6, "sync_s": 0.01, **(more or {})}
        metrics.write(row)
        reports = [report_of(index, update) for index in range(config.collectors)]
        times.on_update(UpdateResult(totals(update), row, 0.0, reports))
    metrics.close()
    last = totals(num_updates)
    if num_updates:
        evaluations.on_evaluation(_played(float(values[-1])), last)
    for number in range(num_faults):
        fault = RunFault(f"collector {number}", "a <b>broken</b> machine", 64, recovery_s=1.25)
        then = totals((number + 1) * num_updates // (num_faults + 1))
        FaultTable(directory.faults_file).add(fault, then.updates, then.steps, then.train_s)
    if ends:
        record.on_trained(last)
        for observer in observers:
            observer.on_end(RunEnd(dataclasses.replace(last, solved=bool(num_updates and values[-1] >= 475.0))))
    return directory


def _played(mean: float) -> EvaluationResult:
    return EvaluationResult([mean - 2.0, mean, mean + 2.0], [9, 9, 9], [False] * 3, [{}] * 3)


def change_record(directory: RunDirectory, **changes: Any) -> None:
    """Changes what run.json says."""
    record = json.loads(directory.record_file.read_text())
    directory.record_file.write_text(json.dumps({**record, **changes}))


def moved_to_another_process(directory: RunDirectory, process: int, host: str | None = None) -> None:
    """Lets another process of a machine have written the run."""
    record = json.loads(directory.record_file.read_text())
    record["starts"][-1] |= {"process": process, "host": host or socket.gethostname()}
    directory.record_file.write_text(json.dumps(record))
