"""The observers of every run: metrics.csv, other tables, TensorBoard events, faults, report, and a cluster's gauges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.output.metrics import MetricsFile
from launch.reports.background import ReportProcess
from launch.supervision.faults import FaultTable, RunFault, note_fault
from launch.training.evaluation import evaluation_metrics
from launch.training.observer import ObservedRun, RunEnd, TrainingObserver
from launch.training.run_record import EvaluationTable, RunRecord, WorkerTimes
from launch.training.tensorboard_events import TensorBoardEvents
from launch.training.totals import TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluationResult

if TYPE_CHECKING:
    from launch.output.cluster_metrics import ClusterMetrics

# Number of updates from which on a run has a picture.
_LEAST_PICTURED = 10


class MetricsTable(TrainingObserver):
    """Writes ``metrics.csv``: one row for each update.

    Args:
        more_columns: Names of metrics that other observers measure.
    """

    def __init__(self, more_columns: Sequence[str] = ()) -> None:
        self._more_columns = tuple(more_columns)
        self._run: ObservedRun | None = None
        self._file: MetricsFile | None = None
        self._in_last_row: set[str] = set()

    def on_start(self, run: ObservedRun) -> None:
        self._run = run
        self._open(run.totals)

    def on_update(self, result: UpdateResult) -> None:
        assert self._file is not None
        self._file.write(result.metrics)
        self._in_last_row = set(result.metrics)

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        # An evaluation during training is in the row already.
        metrics = evaluation_metrics([result])
        if self._file is not None and not set(metrics) <= self._in_last_row:
            self._file.amend(metrics)

    def on_rollback(self, totals: TrainingTotals) -> None:
        self._open(totals)

    def on_end(self, end: RunEnd) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self, totals: TrainingTotals) -> None:
        if self._file is not None:
            self._file.close()
        assert self._run is not None
        # Off-policy agents begin to learn, and to measure, some updates after the first.
        columns = (*self._run.config.agent.metrics, *self._more_columns)
        self._file = MetricsFile(self._run.directory.metrics_file, columns, first_update=totals.updates + 1)


class FaultFiles(TrainingObserver):
    """Writes ``faults.csv``, and stacks and tracebacks of failures under ``faults/``."""

    def __init__(self) -> None:
        self._run: ObservedRun | None = None
        # The totals when a fault was noticed: until a lost learner is back, the run has gone back to a checkpoint's.
        self._totals_then: dict[tuple[str, float], TrainingTotals] = {}

    def on_start(self, run: ObservedRun) -> None:
        self._run = run

    def on_fault(self, fault: RunFault) -> None:
        assert self._run is not None
        self._totals_then[fault.what, fault.noticed] = self._run.totals
        if fault.stacks:
            note_fault(self._run.directory.faults, fault.name, fault.line, fault.stacks)
        if fault.recovery_s is not None:
            self._add(fault)

    def on_recovery(self, fault: RunFault) -> None:
        self._add(fault)

    def on_end(self, end: RunEnd) -> None:
        for fault in end.open_faults:
            self._add(fault)

    def _add(self, fault: RunFault) -> None:
        assert self._run is not None
        # Workers that were lost while they started are told of when they are back.
        totals = self._totals_then.pop((fault.what, fault.noticed), self._run.totals)
        train_s = self._run.train_s_at(fault.noticed)
        FaultTable(self._run.directory.faults_file).add(fault, totals.updates, totals.steps, train_s)


class Report(TrainingObserver):
    """Has ``report.html`` written with checkpoints, and with ``report.png`` at the end. Comes after the other files.

    A run of a few updates has no picture: its curves have no more points.

    Args:
        is_on: Whether it is written at all.
    """

    def __init__(self, is_on: bool = True) -> None:
        self._is_on = is_on
        self._process: ReportProcess | None = None

    def on_start(self, run: ObservedRun) -> None:
        if self._is_on:
            self._process = ReportProcess(run.directory.path)

    def on_checkpoint(self, path: Path, totals: TrainingTotals) -> None:
        if self._process is not None:
            self._process.begin()

    def on_end(self, end: RunEnd) -> None:
        if self._process is not None:
            self._process.finish(has_picture=end.totals.updates >= _LEAST_PICTURED)

    def close(self) -> None:
        """Waits for the picture, while which the workers may end."""
        if self._process is not None:
            self._process.close()


class ClusterGauges(TrainingObserver):
    """Shows the metrics of every update in the dashboard of the cluster that the run has joined."""

    def __init__(self) -> None:
        self._metrics: ClusterMetrics | None = None
        self._num_faults = self._num_restarts = 0

    def on_start(self, run: ObservedRun) -> None:
        if run.config.address is not None:
            # Imported here: it takes time, and a Ray of one's own has nobody who would read them.
            from launch.output.cluster_metrics import ClusterMetrics

            self._metrics = ClusterMetrics(run.directory.path.name, run.config.env)
            self._set(self._faults)

    def on_update(self, result: UpdateResult) -> None:
        self._set(result.metrics)

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        self._set(evaluation_metrics([result]))

    def on_fault(self, fault: RunFault) -> None:
        self._num_faults += 1
        # An environment has been replaced already.
        self._num_restarts += fault.recovery_s is not None
        self._set(self._faults)

    def on_recovery(self, fault: RunFault) -> None:
        self._num_restarts += 1
        self._set(self._faults)

    @property
    def _faults(self) -> dict[str, float]:
        return {"faults": float(self._num_faults), "restarts": float(self._num_restarts)}

    def _set(self, metrics: Mapping[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.set(metrics)


def run_files(report: Report, more_columns: Sequence[str] = (), preset: str | None = None) -> list[TrainingObserver]:
    """Returns the observers that every run has.

    Args:
        report: The last of those that write files.
        more_columns: Names of metrics that other observers measure.
        preset: Name of the preset that the settings come from; None for the one that a run takes by itself.
    """
    files = [RunRecord(preset), MetricsTable(more_columns), EvaluationTable(), WorkerTimes(), FaultFiles()]
    return [*files, TensorBoardEvents(), report, ClusterGauges()]
