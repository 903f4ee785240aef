"""CollectionObserver: whoever follows a collect job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from launch.collection.progress import CollectionProgress
from launch.collection.totals import CollectionTotals
from launch.config.collect import CollectConfig
from launch.supervision.faults import RunFault
from workers.datasets.collector import CollectorDescription
from workers.datasets.manifest import DatasetManifest
from workers.inference.server import ServerStatistics


class ObservedRun(Protocol):
    """What an observer may ask of the run that it follows: a :class:`launch.collection.run.CollectionRun`."""

    @property
    def config(self) -> CollectConfig:
        """The settings."""

    @property
    def folder(self) -> Path:
        """The dataset's folder."""

    @property
    def manifest(self) -> DatasetManifest:
        """What the dataset holds."""

    @property
    def generation(self) -> int:
        """Above the generations of all collectors of earlier jobs; 0 for a new dataset."""

    @property
    def description(self) -> CollectorDescription:
        """How the collectors step their env slots and compute actions."""

    def stop(self) -> None:
        """Ends it, after what has been collected is made whole."""


@dataclass(frozen=True)
class CollectionEnd:
    """How a run ended.

    Attributes:
        manifest: What the dataset holds; it is ``finished`` if that is all that was asked for.
        totals: The totals of each collector.
        server: What the inference server did; None if there was none, or the run is not finished.
        error: What ended it; None if it came to its end or was stopped.
    """

    manifest: DatasetManifest
    totals: Sequence[CollectionTotals]
    server: ServerStatistics | None = None
    error: BaseException | None = None


class CollectionObserver:
    """Follows a collect job. The methods do nothing; a subclass overrides those that it needs.

    A run has any number of observers, and tells them everything in the order in which they were given. An observer ends
    the run by ``stop()`` of the run that :meth:`on_start` gives. If a method raises, the run ends with that error, and
    every observer that was told of the start is told of the end.
    """

    def on_start(self, run: ObservedRun) -> None:
        """All collectors are up, and the dataset is begun. Comes before all other events."""

    def on_progress(self, progress: CollectionProgress) -> None:
        """A collector has answered."""

    def on_fault(self, fault: RunFault) -> None:
        """A collector or an environment has failed; an environment that has a ``recovery_s`` is replaced already."""

    def on_recovery(self, fault: RunFault) -> None:
        """A collector that was lost has been replaced."""

    def on_interrupt(self) -> None:
        """The run was interrupted, as by Ctrl-C, and is about to make whole what has been collected."""

    def on_end(self, end: CollectionEnd) -> None:
        """The run is over, whatever ended it; the last event."""


class Observers(CollectionObserver):
    """Several observers as one.

    Args:
        observers: In the order in which they are told.
    """

    def __init__(self, observers: Sequence[CollectionObserver]) -> None:
        self._observers = tuple(observers)
        self._started: list[CollectionObserver] = []

    def on_start(self, run: ObservedRun) -> None:
        for observer in self._observers:
            observer.on_start(run)
            self._started.append(observer)

    def on_progress(self, progress: CollectionProgress) -> None:
        for observer in self._observers:
            observer.on_progress(progress)

    def on_fault(self, fault: RunFault) -> None:
        for observer in self._observers:
            observer.on_fault(fault)

    def on_recovery(self, fault: RunFault) -> None:
        for observer in self._observers:
            observer.on_recovery(fault)

    def on_interrupt(self) -> None:
        for observer in self._observers:
            observer.on_interrupt()

    def on_end(self, end: CollectionEnd) -> None:
        """Tells all that were told of the start; then raises the first error of those that raised."""
        errors = []
        started, self._started = self._started, []
        for observer in started:
            try:
                observer.on_end(end)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
