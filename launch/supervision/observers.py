"""RunObserver: the events that training runs and collect jobs have in common. ObserverGroup tells several observers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from launch.supervision.faults import RunFault

RunT = TypeVar("RunT")
EndT = TypeVar("EndT")
ObserverT = TypeVar("ObserverT", bound="RunObserver[Any, Any]")


class RunObserver(Generic[RunT, EndT]):
    """Follows a run. The methods do nothing; a subclass overrides those that it needs.

    A run has any number of observers. It calls them in the order in which they were given, in the thread that drives
    the run. An observer can end the run: it calls ``stop()`` of the run that :meth:`on_start` received. If a method
    raises, the run ends with that error, and :meth:`on_end` of every observer that was told of the start is called.
    """

    def on_preparing(self, what: str) -> None:
        """Something that may take long begins before the first rollout, such as ``starting Ray``."""

    def on_start(self, run: RunT) -> None:
        """The workers are up, and the run's folder exists. Only preparations and damaged checkpoints come before."""

    def on_fault(self, fault: RunFault) -> None:
        """A worker or an environment has failed; an environment with a ``recovery_s`` has been replaced already."""

    def on_recovery(self, fault: RunFault) -> None:
        """A worker that was lost has been replaced."""

    def on_interrupt(self) -> None:
        """The run was interrupted, for example by Ctrl-C, and will now save what there is."""

    def on_end(self, end: EndT) -> None:
        """The run is over, whatever ended it; the last event."""


class ObserverGroup(RunObserver[RunT, EndT], Generic[ObserverT, RunT, EndT]):
    """Several observers as one.

    Args:
        observers: In the order in which they are told.
    """

    def __init__(self, observers: Sequence[ObserverT]) -> None:
        self._observers = tuple(observers)
        self._started: list[ObserverT] = []

    def tell(self, event: Callable[[ObserverT], None]) -> None:
        """Calls a function with each observer."""
        for observer in self._observers:
            event(observer)

    def on_preparing(self, what: str) -> None:
        self.tell(lambda observer: observer.on_preparing(what))

    def on_start(self, run: RunT) -> None:
        for observer in self._observers:
            observer.on_start(run)
            self._started.append(observer)

    def on_fault(self, fault: RunFault) -> None:
        self.tell(lambda observer: observer.on_fault(fault))

    def on_recovery(self, fault: RunFault) -> None:
        self.tell(lambda observer: observer.on_recovery(fault))

    def on_interrupt(self) -> None:
        self.tell(lambda observer: observer.on_interrupt())

    def on_end(self, end: EndT) -> None:
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
