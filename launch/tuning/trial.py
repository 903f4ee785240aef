"""TrialRun: one trial of a search, a training run inside an actor of Ray Tune's.

A trial has a run directory of its own, as every training run. If its process is killed, it goes on from the newest
checkpoint there. What Tune keeps as a checkpoint of the trial is a copy of the run's own checkpoint, metrics and
evaluations, so that another trial can go on from it: no pickle is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.utils.atomic_files import write_file
from launch.config.setting_names import with_settings
from launch.config.tracking import TrackingConfig
from launch.config.train import TrainConfig
from launch.output.folder_lock import used_alone
from launch.output.metrics import read_rows
from launch.output.run_directory import RunDirectory
from launch.training.checkpoint_store import CheckpointStore
from launch.training.evaluation import evaluation_metrics
from launch.training.followers import make_followers
from launch.training.observer import TrainingObserver
from launch.training.run import TrainingRun
from launch.training.totals import TrainingTotals, UpdateResult
from launch.tuning.journal import SEED_MARK
from workers.collection.evaluator import EvaluationResult

if TYPE_CHECKING:
    import gymnasium as gym

    from distpolicy.agents.tf_agent import TFAgent

# Keys of a trial's results.
STEPS, SCORE, TRAIN_S, FAILURE, COMPLETE = "steps", "score", "train_s", "failure", "complete"

# Key of what Tune's configuration of a trial says.
GIVEN = "given"

# Seconds that a killed trial's folder may still be locked by its processes.
_LOCK_S = 30.0


@dataclasses.dataclass(frozen=True)
class TrialSpec:
    """What all trials of a search have in common.

    Attributes:
        config: The settings that the search begins from.
        folder: The folder of the trials' run directories.
        metric: The column of metrics.csv that trials are compared by.
        report_steps: Steps between two reports.
        env: As for :class:`launch.training.run.TrainingRun`.
        agent: Likewise.
        tracking: What follows each trial.
        serial: As for :class:`launch.training.run.TrainingRun`.
        preset: Likewise.
        variables: Environment variables of its process.
    """

    config: TrainConfig
    folder: Path
    metric: str
    report_steps: float
    env: Callable[..., gym.Env] | None = None
    agent: Callable[..., TFAgent] | None = None
    tracking: TrackingConfig = dataclasses.field(default_factory=TrackingConfig)
    serial: bool = False
    preset: str | None = None
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)


class _Newest(TrainingObserver):
    """Keeps the newest value of one metric."""

    def __init__(self, metric: str, value: float) -> None:
        self._metric, self.value = metric, value

    def on_update(self, result: UpdateResult) -> None:
        self.value = float(result.metrics.get(self._metric, self.value))

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        self.value = float(evaluation_metrics([result]).get(self._metric, self.value))


class TrialRun(tune.Trainable):
    """One trial: each step trains until the next report. The trial's name is the name of its run directory."""

    def setup(self, config: Mapping[str, Any], spec: TrialSpec) -> None:
        self._spec = spec
        os.environ.update(spec.variables)
        self._run: TrainingRun | None = None
        self._newest: _Newest | None = None
        self._begin(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        self._close()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            return self._train()
        except DistPolicyError as error:
            with contextlib.suppress(DistPolicyError):
                self._close()
            return {FAILURE: str(error), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        newest = CheckpointStore(self._directory.checkpoints, 1).newest_folder
        if newest is not None:
            shutil.copytree(newest, Path(checkpoint_dir) / newest.name)
        for table in self._tables:
            if table.exists():
                shutil.copyfile(table, Path(checkpoint_dir) / table.name)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self._close()
        directory, source = self._directory, Path(checkpoint_dir)
        # Copied first, and exchanged at once: a trial that is killed meanwhile goes on from a whole checkpoint.
        taken, own = directory.path / ".taken", directory.path / ".own"
        for folder in (taken, own):
            shutil.rmtree(folder, ignore_errors=True)
        taken.mkdir(parents=True)
        for item in source.iterdir():
            if item.is_dir():
                shutil.copytree(item, taken / item.name)
        if directory.checkpoints.exists():
            directory.checkpoints.rename(own)
        taken.rename(directory.checkpoints)
        shutil.rmtree(own, ignore_errors=True)
        for table in self._tables:
            if (other := source / table.name).exists():
                write_file(table, other.read_bytes())
            else:
                table.unlink(missing_ok=True)
        directory.write_config(self._config)

    @property
    def _tables(self) -> tuple[Path, ...]:
        """The tables of what the weights have come from."""
        return self._directory.metrics_file, self._directory.evaluations_file

    def cleanup(self) -> None:
        self._close()

    def _begin(self, config: Mapping[str, Any]) -> None:
        name = str(self.trial_name)
        settings = with_settings(self._spec.config, config[GIVEN]["settings"])
        # The seed is the trial's own, also after it has taken the settings of another one.
        self._config = dataclasses.replace(settings, seed=int(name.partition(SEED_MARK)[2]))
        self._directory = RunDirectory(self._spec.folder / name)

    def _train(self) -> dict[str, Any]:
        if self._run is None:
            done = self._done_before()
            if done is not None:
                return done
            self._run = self._open()
        run, newest = self._run, self._newest
        assert newest is not None
        every, is_done = self._report_every(run.config), True
        for result in run:
            if result.totals.updates % every == 0:
                is_done = False
                break
        if is_done:
            run.close()
        return self._result(run.totals, newest.value, is_done)

    def _report_every(self, config: TrainConfig) -> int:
        """Returns the updates between two reports."""
        return max(round(self._spec.report_steps / config.steps_per_update), 1)

    def _done_before(self) -> dict[str, Any] | None:
        """Returns the last result of a run that was complete when it was killed; None if it has to go on."""
        totals = self._totals_before()
        if totals is None or not (totals.solved or totals.steps >= self._config.total_steps):
            return None
        return self._result(totals, self._value_before(), True)

    def _open(self) -> TrainingRun:
        spec, path = self._spec, self._directory.path
        before = self._totals_before()
        self._newest = _Newest(spec.metric, math.nan if before is None else self._value_before())
        _wait_until_free(path)
        if before is None:
            shutil.rmtree(path, ignore_errors=True)  # It was killed before its first checkpoint.
        observers = [self._newest, *make_followers(spec.tracking)]
        new, old = (path, None) if before is None else (None, path)
        return TrainingRun(
            self._config,
            observers,
            new,
            old,
            spec.env,
            spec.agent,
            serial=spec.serial,
            preset=spec.preset,
            reports=False,
        )

    def _totals_before(self) -> TrainingTotals | None:
        if not self._directory.config_file.is_file():
            return None
        found = CheckpointStore(self._directory.checkpoints, self._config.keep_checkpoints).load_latest()
        return None if found is None else found.totals

    def _value_before(self) -> float:
        values = [
            row[self._spec.metric] for row in read_rows(self._directory.metrics_file) if row.get(self._spec.metric)
        ]
        return float(values[-1]) if values else math.nan

    @staticmethod
    def _result(totals: TrainingTotals, value: float, is_done: bool) -> dict[str, Any]:
        found = {STEPS: totals.steps, TRAIN_S: totals.train_s, COMPLETE: is_done, "done": is_done}
        return found if math.isnan(value) else {**found, SCORE: value}

    def _close(self) -> None:
        """Ends the run, unless it is over: whatever goes on with it has its checkpoint already."""
        run, self._run = self._run, None
        if run is not None:
            run.abandon()
            # Networks and their graphs refer to each other in circles. What XLA has compiled stays: TensorFlow has no
            # way to let go of it before the process ends.
            gc.collect()


def _wait_until_free(path: Path) -> None:
    deadline = time.monotonic() + _LOCK_S
    while path.exists():
        try:
            with used_alone(path):
                return
        except ConfigError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.5)
