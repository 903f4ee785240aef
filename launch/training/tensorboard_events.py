"""TensorBoardEvents: writes a run's figures, evaluations and settings as TensorBoard events."""

from __future__ import annotations

import math
import time

from launch.config.codec import dump, to_dict
from launch.output.intervals import interval
from launch.output.tensorboard import TensorBoardWriter
from launch.output.tensorboard_names import evaluation_figures, training_figures
from launch.output.tensorboard_plugins import end_value, interval_charts, settings_values, text_value
from launch.training.evaluation import evaluation_metrics
from launch.training.observer import ObservedRun, RunEnd, TrainingObserver
from launch.training.totals import TrainingTotals, UpdateResult
from launch.training.tracking import flat_settings
from workers.collection.evaluator import EvaluationResult

# What runs are compared by in the tab HParams.
_COMPARED = ("rollout/ep_rew_mean", "eval/mean_reward", "time/fps")


class TensorBoardEvents(TrainingObserver):
    """Writes TensorBoard events by the run's steps: metrics of every update, evaluations, and the settings."""

    def __init__(self) -> None:
        self._run: ObservedRun | None = None
        self._events: TensorBoardWriter | None = None

    def on_start(self, run: ObservedRun) -> None:
        self._run = run
        self._open(run.totals.steps + 1 if run.totals.updates else None)
        assert self._events is not None
        name = run.directory.path.name
        kinds = ["greedy", *(["stochastic"] if run.config.agent.deploys_collect_policy else [])]
        charts = {f"return of the {kind} policy, 95 %": _interval_tags(kind) for kind in kinds}
        values = [
            text_value("config", f"```yaml\n{dump(run.config)}```"),
            interval_charts("Evaluations", charts),
            *settings_values(flat_settings(to_dict(run.config)), _COMPARED, name, time.time()),
        ]
        self._events.add_values(values, run.totals.steps)

    def on_update(self, result: UpdateResult) -> None:
        assert self._events is not None
        self._events.add(training_figures(result.metrics), result.totals.steps)

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        assert self._events is not None
        mean, half = interval(result.returns)
        half = 0.0 if math.isnan(half) else half
        _, low, high = _interval_tags(result.policy)
        figures = evaluation_figures(evaluation_metrics([result]))
        self._events.add({**figures, low: mean - half, high: mean + half}, totals.steps)

    def on_rollback(self, totals: TrainingTotals) -> None:
        self._open(totals.steps + 1)

    def on_end(self, end: RunEnd) -> None:
        if self._events is not None:
            try:
                self._events.add_values([end_value(end.error is None, time.time())], end.totals.steps)
            finally:
                self._events.close()

    def _open(self, purge_step: int | None) -> None:
        """Begins a new file; TensorBoard then drops the events of earlier files from ``purge_step`` on."""
        if self._events is not None:
            self._events.close()
        assert self._run is not None
        self._events = TensorBoardWriter(self._run.directory.path, purge_step)


def _interval_tags(kind: str) -> tuple[str, str, str]:
    """Returns the tags of an evaluation's mean return and of its bounds."""
    prefix = "evaluation/" if kind == "greedy" else f"evaluation/{kind}_"
    return f"{prefix}return_mean", f"{prefix}return_low", f"{prefix}return_high"
