"""CollectionObserver: the interface of objects that follow a collect job."""

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
    """The run as its observers see it; a :class:`launch.collection.run.CollectionRun`."""

    @property
    def config(self) -> CollectConfig:
        """The settings."""

    @property
    def folder(self) -> Path:
        """The dataset's folder."""

    @property
    def manifest(self) -> DatasetManifest:
        """The dataset's manifest."""

    @property
    def generation(self) -> int:
        """Higher than the generations of all collectors of earlier jobs; 0 for a new dataset."""

    @property
    def description(self) -> CollectorDescription:
        """The collectors' way to step environments and to compute actions."""

    def stop(self) -> None:
        """Ends the run after the collected steps are written."""


@dataclass(frozen=True)
class CollectionEnd:
    """The end of a run.

    Attributes:
        manifest: The dataset's manifest; it is ``finished`` if everything was collected.
        totals: The totals of each collector.
        server: Statistics of the inference server; None if there was none, or the run is not finished.
        error: The error that ended the run; None if it was finished or stopped.
    """

    manifest: DatasetManifest
    totals: Sequence[CollectionTotals]
    server: ServerStatistics | None = None
    error: BaseException | None = None


class CollectionObserver:
    """Follows a collect job. The methods do nothing; a subclass overrides those that it needs.

    A run has any number of observers. It calls them in the order in which they were given. An observer can end the run:
    it calls ``stop()`` of the run that :meth:`on_start` received. If a method raises, the run ends with that error, and
    :meth:`on_end` of every observer that was told of the start is called.
    """

    def on_preparing(self, what: str) -> None:
        """Something that may take long begins before the first rollout, such as ``starting Ray``."""

    def on_start(self, run: ObservedRun) -> None:
        """All collectors are up, and the dataset is begun. Only preparations come before."""

    def on_progress(self, progress: CollectionProgress) -> None:
        """A collector has answered."""

    def on_fault(self, fault: RunFault) -> None:
        """A collector or an environment has failed; an environment with a ``recovery_s`` has been replaced already."""

    def on_recovery(self, fault: RunFault) -> None:
        """A collector that was lost has been replaced."""

    def on_interrupt(self) -> None:
        """The run was interrupted, for example by Ctrl-C, and will now write the collected steps."""

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

    def on_preparing(self, what: str) -> None:
        for observer in self._observers:
            observer.on_preparing(what)

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
