"""The observers of every run: metrics.csv, other tables, TensorBoard events, faults, report, and a cluster's gauges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launch.output.metrics import MetricsFile
from launch.output.tensorboard import TensorBoardWriter
from launch.reports.background import ReportProcess
from launch.supervision.faults import FaultTable, RunFault, note_fault
from launch.training.evaluation import evaluation_metrics
from launch.training.observer import ObservedRun, RunEnd, TrainingObserver
from launch.training.run_record import EvaluationTable, RunRecord, WorkerTimes
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


class TensorBoardEvents(TrainingObserver):
    """Writes TensorBoard events: the metrics of every update, and evaluations, by the run's steps."""

    def __init__(self) -> None:
        self._run: ObservedRun | None = None
        self._events: TensorBoardWriter | None = None

    def on_start(self, run: ObservedRun) -> None:
        self._run = run
        self._open(run.totals.steps + 1 if run.totals.updates else None)

    def on_update(self, result: UpdateResult) -> None:
        assert self._events is not None
        figures = {
            f"train/{name}": value
            for name, value in result.metrics.items()
            if name not in ("update", "env_steps", "gradient_steps") and not name.startswith("eval_")
        }
        self._events.add(figures, result.totals.steps)

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        assert self._events is not None
        metrics = evaluation_metrics([result])
        figures = {f"evaluation/{name.removeprefix('eval_')}": value for name, value in metrics.items()}
        self._events.add(figures, totals.steps)

    def on_rollback(self, totals: TrainingTotals) -> None:
        self._open(totals.steps + 1)

    def on_end(self, end: RunEnd) -> None:
        if self._events is not None:
            self._events.close()

    def _open(self, purge_step: int | None) -> None:
        """Begins a new file; TensorBoard then drops the events of earlier files from ``purge_step`` on."""
        if self._events is not None:
            self._events.close()
        assert self._run is not None
        self._events = TensorBoardWriter(self._run.directory.path, purge_step)


class FaultFiles(TrainingObserver):
    """Writes ``faults.csv``, and stacks and tracebacks of failures under ``faults/``."""

    def __init__(self) -> None:
        self._run: ObservedRun | None = None

    def on_start(self, run: ObservedRun) -> None:
        self._run = run

    def on_fault(self, fault: RunFault) -> None:
        assert self._run is not None
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
        FaultTable(self._run.directory.faults_file).add(fault, self._run.totals.updates)


class Report(TrainingObserver):
    """Has ``report.html`` written with checkpoints, and with ``report.png`` at the end. Comes after the other files.

    A run of a few updates has no picture: its curves have no more points.
    """

    def __init__(self) -> None:
        self._process: ReportProcess | None = None

    def on_start(self, run: ObservedRun) -> None:
        self._process = ReportProcess(run.directory.path)

    def on_checkpoint(self, path: Path, totals: TrainingTotals) -> None:
        assert self._process is not None
        self._process.begin()

    def on_end(self, end: RunEnd) -> None:
        assert self._process is not None
        self._process.finish(has_picture=end.totals.updates >= _LEAST_PICTURED)

    def close(self) -> None:
        """Waits for the picture, while which the workers may end."""
        if self._process is not None:
            self._process.close()


class ClusterGauges(TrainingObserver):
    """Shows the metrics of every update in the dashboard of the cluster that the run has joined."""

    def __init__(self) -> None:
        self._metrics: ClusterMetrics | None = None

    def on_start(self, run: ObservedRun) -> None:
        if run.config.address is not None:
            # Imported here: it takes time, and a Ray of one's own has nobody who would read them.
            from launch.output.cluster_metrics import ClusterMetrics

            self._metrics = ClusterMetrics(run.directory.path.name, run.config.env)

    def on_update(self, result: UpdateResult) -> None:
        if self._metrics is not None:
            self._metrics.set(result.metrics)


def run_files(report: Report, more_columns: Sequence[str] = (), preset: str | None = None) -> list[TrainingObserver]:
    """Returns the observers that every run has.

    Args:
        report: The last of those that write files.
        more_columns: Names of metrics that other observers measure.
        preset: Name of the preset that the settings come from; None for the one that a run takes by itself.
    """
    files = [RunRecord(preset), MetricsTable(more_columns), EvaluationTable(), WorkerTimes(), FaultFiles()]
    return [*files, TensorBoardEvents(), report, ClusterGauges()]
