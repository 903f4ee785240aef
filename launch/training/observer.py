"""TrainingObserver: the interface of objects that follow a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from distpolicy.errors import CheckpointError
from launch.config.train import TrainConfig
from launch.output.run_directory import RunDirectory
from launch.supervision.faults import RunFault
from launch.training.totals import TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluationResult


class ObservedRun(Protocol):
    """The run as its observers see it; a :class:`launch.training.run.TrainingRun`."""

    @property
    def config(self) -> TrainConfig:
        """The settings."""

    @property
    def directory(self) -> RunDirectory:
        """The run directory."""

    @property
    def totals(self) -> TrainingTotals:
        """The totals so far."""

    @property
    def generation(self) -> int:
        """Higher than the generations of all workers of earlier starts; 0 for a new run."""

    @property
    def warm_up_s(self) -> float:
        """Seconds that compiling the update took."""

    def stop(self) -> None:
        """Ends the run after the updates that are under way."""


@dataclass(frozen=True)
class RunEnd:
    """The end of a run.

    Attributes:
        totals: The totals at the end.
        error: The error that ended the run; None if it was finished or stopped.
        newest_checkpoint: The totals of its newest checkpoint; None if there is none, and after an error.
        evaluations: The results of the final evaluation, one for each policy; empty if there was none.
        peak_memory_bytes: Peak resident memory of each process, by name; empty after an error.
        open_faults: Workers that were lost and not replaced.
    """

    totals: TrainingTotals
    error: BaseException | None = None
    newest_checkpoint: TrainingTotals | None = None
    evaluations: Sequence[EvaluationResult] = ()
    peak_memory_bytes: Mapping[str, int] = field(default_factory=dict)
    open_faults: Sequence[RunFault] = ()


class TrainingObserver:
    """Follows a training run. The methods do nothing; a subclass overrides those that it needs.

    A run has any number of observers. It calls them in the order in which they were given, in the thread that trains.
    An observer can end the run: it calls ``stop()`` of the run that :meth:`on_start` received. If a method raises, the
    run ends with that error, and :meth:`on_end` of every observer that was told of the start is called.

    Attributes:
        metrics: Names of the metrics that :meth:`measure` adds; each is a column of ``metrics.csv``.
    """

    metrics: tuple[str, ...] = ()

    def on_preparing(self, what: str) -> None:
        """Something that may take long begins before the first update, such as ``starting Ray``."""

    def on_start(self, run: ObservedRun) -> None:
        """The workers are up, and the run directory exists. Only preparations and damaged checkpoints come before."""

    def measure(self, result: UpdateResult) -> Mapping[str, float]:
        """Returns metrics of an update, by those names of :attr:`metrics` that have a value."""
        return {}

    def on_update(self, result: UpdateResult) -> None:
        """The learner has made an update; its metrics include those that observers measure."""

    def on_checkpoint(self, path: Path, totals: TrainingTotals) -> None:
        """A checkpoint was written."""

    def on_damaged_checkpoint(self, error: CheckpointError, used: Path) -> None:
        """A damaged checkpoint was found, and an older one is used. It may come before the start."""

    def on_fault(self, fault: RunFault) -> None:
        """A worker or an environment has failed; an environment with a ``recovery_s`` has been replaced already."""

    def on_recovery(self, fault: RunFault) -> None:
        """A worker that was lost has been replaced."""

    def on_rollback(self, totals: TrainingTotals) -> None:
        """The learner was lost and continues from a checkpoint: all updates after these totals are void."""

    def on_trained(self, totals: TrainingTotals) -> None:
        """Training is over, and the policies are in the run directory; an evaluation may follow."""

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        """A policy was evaluated; ``totals`` says after how much training. One call for each policy."""

    def on_interrupt(self) -> None:
        """The run was interrupted, for example by Ctrl-C, and will now write a checkpoint."""

    def on_end(self, end: RunEnd) -> None:
        """The run is over, whatever ended it; the last event."""


class Observers(TrainingObserver):
    """Several observers as one.

    Args:
        observers: In the order in which they are told.
    """

    def __init__(self, observers: Sequence[TrainingObserver]) -> None:
        self._observers = tuple(observers)
        self._started: list[TrainingObserver] = []
        self.metrics = tuple(dict.fromkeys(name for observer in observers for name in observer.metrics))

    def on_preparing(self, what: str) -> None:
        for observer in self._observers:
            observer.on_preparing(what)

    def on_start(self, run: ObservedRun) -> None:
        for observer in self._observers:
            observer.on_start(run)
            self._started.append(observer)

    def measure(self, result: UpdateResult) -> dict[str, float]:
        return {name: value for observer in self._observers for name, value in observer.measure(result).items()}

    def on_update(self, result: UpdateResult) -> None:
        for observer in self._observers:
            observer.on_update(result)

    def on_checkpoint(self, path: Path, totals: TrainingTotals) -> None:
        for observer in self._observers:
            observer.on_checkpoint(path, totals)

    def on_damaged_checkpoint(self, error: CheckpointError, used: Path) -> None:
        for observer in self._observers:
            observer.on_damaged_checkpoint(error, used)

    def on_fault(self, fault: RunFault) -> None:
        for observer in self._observers:
            observer.on_fault(fault)

    def on_recovery(self, fault: RunFault) -> None:
        for observer in self._observers:
            observer.on_recovery(fault)

    def on_rollback(self, totals: TrainingTotals) -> None:
        for observer in self._observers:
            observer.on_rollback(totals)

    def on_trained(self, totals: TrainingTotals) -> None:
        for observer in self._observers:
            observer.on_trained(totals)

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        for observer in self._observers:
            observer.on_evaluation(result, totals)

    def on_interrupt(self) -> None:
        for observer in self._observers:
            observer.on_interrupt()

    def on_end(self, end: RunEnd) -> None:
        """Tells all observers that were told of the start; then raises the first error that one of them raised."""
        errors = []
        started, self._started = self._started, []
        for observer in started:
            try:
                observer.on_end(end)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
