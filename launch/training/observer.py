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
from launch.supervision.observers import ObserverGroup, RunObserver
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

    def train_s_at(self, clock_s: float) -> float:
        """Returns the seconds of training up to a clock time of this start, over all starts of the run."""

    @property
    def generation(self) -> int:
        """Higher than the generations of all workers of earlier starts; 0 for a new run."""

    @property
    def warm_up_s(self) -> float:
        """Seconds that compiling the update took."""

    def stop(self) -> None:
        """Ends the run after the updates that are under way."""


class RunAbandoned(KeyboardInterrupt):
    """A run was ended at once by what runs it, such as a search that stops a trial."""


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


class TrainingObserver(RunObserver[ObservedRun, RunEnd]):
    """Follows a training run; see :class:`launch.supervision.observers.RunObserver`.

    Attributes:
        metrics: Names of the metrics that :meth:`measure` adds; each is a column of ``metrics.csv``.
    """

    metrics: tuple[str, ...] = ()

    def measure(self, result: UpdateResult) -> Mapping[str, float]:
        """Returns metrics of an update, by those names of :attr:`metrics` that have a value."""
        return {}

    def on_update(self, result: UpdateResult) -> None:
        """The learner has made an update; its metrics include those that observers measure."""

    def on_checkpoint(self, path: Path, totals: TrainingTotals) -> None:
        """A checkpoint was written."""

    def on_damaged_checkpoint(self, error: CheckpointError, used: Path) -> None:
        """A damaged checkpoint was found, and an older one is used. It may come before the start."""

    def on_rollback(self, totals: TrainingTotals) -> None:
        """The learner was lost and continues from a checkpoint: all updates after these totals are void."""

    def on_replay_lost(self, num_transitions: int) -> None:
        """The learner continues from a checkpoint without its replay buffer, which held so many transitions then."""

    def on_trained(self, totals: TrainingTotals) -> None:
        """Training is over, and the policies are in the run directory; an evaluation may follow."""

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        """A policy was evaluated; ``totals`` says after how much training. One call for each policy."""


class Observers(ObserverGroup[TrainingObserver, ObservedRun, RunEnd], TrainingObserver):
    """Several observers of a training run as one.

    Args:
        observers: In the order in which they are told.
    """

    def __init__(self, observers: Sequence[TrainingObserver]) -> None:
        super().__init__(observers)
        self.metrics = tuple(dict.fromkeys(name for observer in observers for name in observer.metrics))

    def measure(self, result: UpdateResult) -> dict[str, float]:
        return {name: value for observer in self._observers for name, value in observer.measure(result).items()}

    def on_update(self, result: UpdateResult) -> None:
        self.tell(lambda observer: observer.on_update(result))

    def on_checkpoint(self, path: Path, totals: TrainingTotals) -> None:
        self.tell(lambda observer: observer.on_checkpoint(path, totals))

    def on_damaged_checkpoint(self, error: CheckpointError, used: Path) -> None:
        self.tell(lambda observer: observer.on_damaged_checkpoint(error, used))

    def on_rollback(self, totals: TrainingTotals) -> None:
        self.tell(lambda observer: observer.on_rollback(totals))

    def on_replay_lost(self, num_transitions: int) -> None:
        self.tell(lambda observer: observer.on_replay_lost(num_transitions))

    def on_trained(self, totals: TrainingTotals) -> None:
        self.tell(lambda observer: observer.on_trained(totals))

    def on_evaluation(self, result: EvaluationResult, totals: TrainingTotals) -> None:
        self.tell(lambda observer: observer.on_evaluation(result, totals))
