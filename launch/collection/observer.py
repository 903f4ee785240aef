"""CollectionObserver: the interface of objects that follow a collect job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from launch.collection.progress import CollectionProgress
from launch.collection.totals import CollectionTotals
from launch.config.collect import CollectConfig
from launch.supervision.observers import ObserverGroup, RunObserver
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


class CollectionObserver(RunObserver[ObservedRun, CollectionEnd]):
    """Follows a collect job; see :class:`launch.supervision.observers.RunObserver`."""

    def on_progress(self, progress: CollectionProgress) -> None:
        """A collector has answered."""


class Observers(ObserverGroup[CollectionObserver, ObservedRun, CollectionEnd], CollectionObserver):
    """Several observers of a collect job as one.

    Args:
        observers: In the order in which they are told.
    """

    def on_progress(self, progress: CollectionProgress) -> None:
        self.tell(lambda observer: observer.on_progress(progress))
