"""The observers that write what a report needs beside metrics: config.yaml, run.json and two tables."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray

from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.errors import ConfigError, DistPolicyError
from launch.cluster.placement import total_resources
from launch.cluster.session import nodes
from launch.config.codec import to_dict
from launch.config.flat_settings import flat
from launch.config.presets import load_preset, preset_for, preset_names
from launch.config.train import TrainConfig, load_train_config
from launch.output.growing_table import GrowingTable
from launch.output.intervals import interval
from launch.output.run_directory import RunDirectory
from launch.output.run_record import RECORD_FORMAT, describe_start, read_record, write_record
from launch.training.observer import ObservedRun, RunAbandoned, RunEnd, TrainingObserver
from launch.training.totals import TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluationResult
from workers.collection.rollout_report import RolloutReport

# Times are written with six digits.
_ROUNDING = 1e-5

# Settings of a run, and not of what it learns, that are not compared with a preset's.
_OF_THE_RUN = ("env", "agent", "address")


class RunRecord(TrainingObserver):
    """Writes ``config.yaml`` at the start of a run, and ``run.json`` then and at its end.

    A run may go on with other settings than before: ``config.yaml`` has those that hold, and ``run.json`` what each
    start has changed.

    Args:
        preset: Name of the preset that the settings come from; None for the one that a run takes by itself.

    Raises:
        ConfigError: If there is no such preset.
    """

    def __init__(self, preset: str | None = None) -> None:
        if preset is not None:
            load_preset(preset)
        self._preset = preset
        self._run: ObservedRun | None = None
        self._record: dict[str, Any] = {}
        self._warm_up_s: float | None = None

    def on_start(self, run: ObservedRun) -> None:
        self._run = run
        before = read_record(run.directory)
        start = describe_start(run.generation, run.totals.updates, run.totals.train_s)
        if changed := _changed_since(run.directory, run.config):
            start["changed"] = changed
        run.directory.write_config(run.config)
        if ray.is_initialized():
            start["cluster"] = _cluster()
        preset, differing = _compared(run.config, before.get("preset") or self._preset)
        self._record = {
            "format": RECORD_FORMAT,
            "titles": dict(run.config.agent.metrics),
            "preset": preset,
            "changed": differing,
            "starts": [*before.get("starts", ()), start],
        }
        write_record(run.directory, self._record)

    def on_trained(self, totals: TrainingTotals) -> None:
        assert self._run is not None
        with contextlib.suppress(DistPolicyError):
            self._warm_up_s = self._run.warm_up_s

    def on_end(self, end: RunEnd) -> None:
        assert self._run is not None
        state = "solved" if end.totals.solved else "ended"
        if isinstance(end.error, RunAbandoned):
            state = "stopped"
        elif end.error is not None:
            state = "interrupted" if isinstance(end.error, KeyboardInterrupt) else "failed"
        told: dict[str, Any] = {
            "time": time.time(),
            "state": state,
            "updates": end.totals.updates,
            "train_s": end.totals.train_s,
            "peak_memory_bytes": dict(end.peak_memory_bytes),
        }
        if state == "failed":
            told["error"] = " ".join(f"{type(end.error).__name__}: {end.error}".split())
        if self._warm_up_s is not None:
            told["warm_up_s"] = self._warm_up_s
        write_record(self._run.directory, {**self._record, "end": told})


def _cluster() -> dict[str, float]:
    found = nodes()
    totals = total_resources(found)
    return {"nodes": len(found), "cpus": totals.get("CPU", 0.0), "gpus": totals.get("GPU", 0.0)}


def _changed_since(directory: RunDirectory, config: TrainConfig) -> dict[str, list[Any]]:
    """Returns the settings that a run has changed when it goes on: the values before and now by name."""
    if not directory.config_file.is_file():
        return {}
    try:
        before = flat(to_dict(load_train_config(directory.config_file)))
    except ConfigError:  # A file of another version; the run was given its settings.
        return {}
    now = flat(to_dict(config))
    return {name: [before.get(name), value] for name, value in now.items() if before.get(name) != value}


def _compared(config: TrainConfig, name: str | None) -> tuple[str | None, dict[str, Any]]:
    """Returns the preset of a run, and the preset's value of each setting that differs."""
    if name not in preset_names():  # None, or one that another version of the project has.
        name = preset_for(config.env, config.agent.kind)
    base = TrainConfig() if name is None else load_preset(name)
    if isinstance(config.agent, CustomAgentConfig):
        # Without a function it has no defaults.
        base = dataclasses.replace(base, agent=CustomAgentConfig(config.agent.factory))
    elif type(base.agent) is not type(config.agent):
        base = dataclasses.replace(base, agent=type(config.agent)())
    ours, theirs = flat(to_dict(config)), flat(to_dict(base))
    names = [key for key in ours if key not in _OF_THE_RUN and ours[key] != theirs.get(key)]
    return name, {key: theirs.get(key) for key in names}


class EvaluationTable(TrainingObserver):
    """Writes ``evaluations.csv``: one row for each policy of each evaluation."""

    COLUMNS = (
        *("update", "steps", "train_s", "policy", "episodes", "return_mean", "return_half", "return_min"),
        *("return_max", "length_mean", "num_cut", "num_repeated"),
    )

    def __init__(self) -> None:
        self._run: ObservedRun | None = None
        self._table: GrowingTable | None = None

    def on_start(self, run: ObservedRun) -> None:
        self._run = run
        self._open(run.totals)

    def on_rollback(self, totals: TrainingTotals) -> None:
        self._open(totals)

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        assert self._table is not None
        returns = np.asarray(result.returns)
        mean, half = interval(returns)
        self._table.add(
            {
                "update": totals.updates,
                "steps": totals.steps,
                "train_s": totals.train_s,
                "policy": result.policy,
                "episodes": returns.size,
                "return_mean": mean,
                "return_half": half,
                "return_min": float(returns.min()),
                "return_max": float(returns.max()),
                "length_mean": float(np.mean(result.lengths)),
                "num_cut": result.num_cut,
                "num_repeated": result.num_repeated,
            }
        )

    def on_end(self, end: RunEnd) -> None:
        if self._table is not None:
            self._table.close()

    def _open(self, totals: TrainingTotals) -> None:
        if self._table is not None:
            self._table.close()
        assert self._run is not None
        # Evaluations of updates that the run goes back behind are void.
        self._table = GrowingTable(
            self._run.directory.evaluations_file, self.COLUMNS, lambda row: float(row["update"]) <= totals.updates
        )


class WorkerTimes(TrainingObserver):
    """Writes ``worker_times.csv``: what each worker did with its time, in one row for each stretch of the run.

    A stretch is a hundredth of the run so far, and a second or more, so the file stays small however long a run is.
    """

    COLUMNS = ("worker", "begin_s", "end_s", "env_s", "policy_s", "learn_s", "other_s", "wait_s")

    _LEAST_S = 1.0
    _SHARE = 0.01
    # With more collectors than this, their mean is written.
    _MAX_COLLECTORS = 16

    def __init__(self) -> None:
        self._table: GrowingTable | None = None
        self._begin_s = self._end_s = 0.0
        self._sums: dict[str, dict[str, float]] = {}
        self._num_collectors = 0

    def on_start(self, run: ObservedRun) -> None:
        self._num_collectors = run.config.collectors
        self._begin_s = self._end_s = run.totals.train_s
        # A run that goes on from a checkpoint has the time after it once more.
        until_s = self._end_s * (1.0 + _ROUNDING)
        self._table = GrowingTable(
            run.directory.worker_times_file, self.COLUMNS, lambda row: float(row["end_s"]) <= until_s
        )

    def on_update(self, result: UpdateResult) -> None:
        for report in result.reports:
            self._add(self._name(report), _times(report))
        metrics = result.metrics
        columns = {"learn_s": "update_s", "other_s": "learner_other_s", "wait_s": "learner_wait_s"}
        self._add("learner", {column: metrics.get(name, 0.0) for column, name in columns.items()})
        self._end_s = result.totals.train_s
        if self._end_s - self._begin_s >= max(self._LEAST_S, self._SHARE * self._end_s):
            self._write()

    def on_end(self, end: RunEnd) -> None:
        if self._table is not None:
            self._write()
            self._table.close()

    def _name(self, report: RolloutReport) -> str:
        if self._num_collectors > self._MAX_COLLECTORS:
            return f"{self._num_collectors} collectors"
        return f"collector {report.collector}"

    def _add(self, worker: str, times: Mapping[str, float]) -> None:
        sums = self._sums.setdefault(worker, {})
        for name, seconds in times.items():
            sums[name] = sums.get(name, 0.0) + seconds

    def _write(self) -> None:
        assert self._table is not None
        if self._end_s > self._begin_s:
            for worker in sorted(self._sums, key=_place):
                self._table.add(
                    {"worker": worker, "begin_s": self._begin_s, "end_s": self._end_s, **self._sums[worker]}
                )
        self._begin_s, self._sums = self._end_s, {}


def _times(report: RolloutReport) -> dict[str, float]:
    other_s = max(report.total_s - report.env_s - report.policy_s, 0.0)
    return {"env_s": report.env_s, "policy_s": report.policy_s, "other_s": other_s, "wait_s": report.wait_s}


def _place(worker: str) -> tuple[bool, int]:
    """Returns what workers are ordered by: the learner first, then collectors by their numbers."""
    digits = "".join(filter(str.isdigit, worker))
    return (worker != "learner", int(digits or 0))
