"""CollectorPool: the collectors of a run or a job, replaced when they fail."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from distpolicy.errors import DistPolicyError, EnvironmentCrashedError, WorkerLostError
from launch.supervision import calls
from launch.supervision.actor_errors import failed_in_constructor, is_death, reason_of_death
from launch.supervision.collector_handle import CollectorHandle, describe_collector
from launch.supervision.faults import RunFault
from launch.supervision.own_ray import check_alive
from workers.restart_budget import RestartBudget, RestartBudgetConfig

# Used in training, where one rollout counts as a step: the window covers failures without a rollout in between.
ROLLOUT_RESTART_BUDGET = RestartBudgetConfig(max_restarts=10, window_steps=1, backoff_s=0.5, max_backoff_s=30.0)

_LOOK_S = 0.5


class WorkerLoss(NamedTuple):
    """The reason why a collector was lost.

    Attributes:
        reason: The reason in one line.
        stacks: The stacks of its threads if it hung, else empty.
    """

    reason: str
    stacks: str = ""


class _Entry:
    """One index of the pool and its collector."""

    def __init__(self, index: int, slots: range, restart_budget: RestartBudgetConfig) -> None:
        self.index, self.slots = index, slots
        self.budget = RestartBudget(restart_budget)
        self.progress = 0  # in the unit of the budget's window
        self.due = 0.0  # when an actor may be started; infinite if the collector is retired
        self.starting: CollectorHandle | None = None
        self.answer: Any = None  # of the actor that is starting: comes once it is up
        self.handle: CollectorHandle | None = None
        self.fault: RunFault | None = None

    def __str__(self) -> str:
        return describe_collector(self.index, self.slots)

    def end(self) -> None:
        """Kills the actors for good."""
        for held in (self.handle, self.starting):
            if held is not None:
                calls.kill(held.actor)
        self.handle = self.starting = self.answer = None
        self.due = math.inf


class CollectorPool:
    """Keeps one collector up for each index, and replaces collectors that are lost.

    The replacement of a lost collector has new seeds, and comes up while the others go on. If the cluster has no place
    for a collector at first, Ray starts it when nodes have joined. The caller makes the calls, takes the answers and
    keeps the totals. It tells the pool what a collector has delivered, and which collector is lost.

    Args:
        start: Starts the actor of an index for a generation; the actor's ``ping`` answers once it is up.
        slots: The env slots of each index.
        next_generation: Returns a generation that no collector has had.
        timeout_s: Seconds within which the collectors that are waited for have to come up.
        minimum: Number of collectors that are needed to begin; None for all.
        restart_budget: How often the collector of an index is replaced, and the waits before that.
        explain: Returns why a collector was lost, from its handle and Ray's reason.
    """

    def __init__(
        self,
        start: Callable[[int, int], Any],
        slots: Sequence[range],
        next_generation: Callable[[], int],
        timeout_s: float,
        minimum: int | None = None,
        restart_budget: RestartBudgetConfig = ROLLOUT_RESTART_BUDGET,
        explain: Callable[[CollectorHandle, str], WorkerLoss] = lambda handle, reason: WorkerLoss(reason),
    ) -> None:
        self._start, self._next_generation, self._explain = start, next_generation, explain
        self._timeout_s, self._restart_budget = timeout_s, restart_budget
        self._minimum = len(slots) if minimum is None else minimum
        self._entries = [_Entry(index, part, restart_budget) for index, part in enumerate(slots)]

    @property
    def size(self) -> int:
        """Number of indices."""
        return len(self._entries)

    @property
    def handles(self) -> list[CollectorHandle]:
        """The collectors that are up, in the order of their indices."""
        return [entry.handle for entry in self._entries if entry.handle is not None]

    @property
    def is_retired(self) -> bool:
        """True if all collectors are retired."""
        return all(entry.due == math.inf for entry in self._entries)

    @property
    def open_faults(self) -> list[RunFault]:
        """The faults of lost collectors that are not replaced yet."""
        return [entry.fault for entry in self._entries if entry.fault is not None]

    def start(self, generation: int) -> None:
        """Starts an actor for every index, without waiting."""
        for entry in self._entries:
            self._start_actor(entry, generation)

    def begin(self) -> list[RunFault]:
        """Waits until there are enough collectors to begin.

        Returns:
            The faults of collectors that were lost meanwhile and have been replaced.

        Raises:
            DistPolicyError: If they do not come up in time, or a constructor raised an error.
        """
        return self._wait(self._minimum)

    def admit(self) -> list[RunFault]:
        """Admits collectors that have come up, and starts those that are due, without waiting.

        Returns:
            The faults of lost collectors that have now been replaced.

        Raises:
            WorkerLostError: If one has been replaced too often.
        """
        return self._admit(0.0) if any(entry.handle is None for entry in self._entries) else []

    def wait_for_one(self) -> list[RunFault]:
        """Waits until there is a collector.

        Returns:
            The faults of lost collectors that have now been replaced.

        Raises:
            WorkerLostError: If none comes up in time.
        """
        return self._wait(1)

    def ready(self, timeout_s: float = _LOOK_S) -> list[CollectorHandle]:
        """Waits for the next answer of any collector to a :meth:`CollectorHandle.call`.

        Args:
            timeout_s: Maximum number of seconds to wait.

        Returns:
            The collectors whose oldest call is answered. Empty if the time is over, or a collector can be admitted.
        """
        check_alive()
        asked = {handle.next_answer: handle for handle in self.handles if handle.num_pending}
        starting = [entry.answer for entry in self._entries if entry.starting is not None]
        if not asked and not starting:
            time.sleep(timeout_s)
            return []
        calls.wait([*asked, *starting], 1, timeout_s)
        answered = calls.wait(list(asked), len(asked), 0.0)[0]
        return [asked[reference] for reference in answered]

    def delivered(self, handle: CollectorHandle, num_steps: int = 1) -> None:
        """Notes that a collector has delivered something, which shows that it works.

        Args:
            handle: The collector.
            num_steps: The amount, in the unit of the restart budget's window.
        """
        self._entries[handle.index].progress += num_steps

    def lose(self, handle: CollectorHandle, reason: str, env_steps: int) -> RunFault | None:
        """Ends a collector, and schedules its replacement.

        Args:
            handle: The collector.
            reason: Ray's reason, in one line.
            env_steps: Env steps that are lost with it.

        Returns:
            The fault; None if the collector was already lost.

        Raises:
            EnvironmentCrashedError: If it hung and has been replaced too often.
            WorkerLostError: If it has been replaced too often for other reasons.
        """
        entry = self._entries[handle.index]
        if entry.handle is not handle:
            return None
        entry.handle = None
        self._give_up(entry, handle, reason, env_steps)
        return entry.fault

    def retire(self, handle: CollectorHandle) -> None:
        """Ends a collector that has finished its work; it is not replaced."""
        entry = self._entries[handle.index]
        if entry.handle is handle:
            entry.end()

    def close(self) -> None:
        """Ends all collectors; may be called twice."""
        for entry in self._entries:
            entry.end()

    def _start_actor(self, entry: _Entry, generation: int) -> None:
        actor = self._start(entry.index, generation)
        entry.starting = CollectorHandle(entry.index, generation, entry.slots, actor)
        entry.answer = actor.ping.remote()

    def _give_up(self, entry: _Entry, handle: CollectorHandle, reason: str, env_steps: int) -> None:
        calls.kill(handle.actor)
        loss = self._explain(handle, reason)
        if not entry.budget.take(entry.progress):
            window = self._restart_budget.window_steps
            often = "in a row" if window == 1 else f"within {window:,} steps"
            told = f"{entry} was lost {entry.budget.num_recent + 1} times {often}; the last time: {loss.reason}"
            if loss.stacks:
                raise EnvironmentCrashedError(told, traceback=loss.stacks)
            raise WorkerLostError(told)
        entry.due = time.monotonic() + entry.budget.wait_s
        if entry.fault is None:
            entry.fault = RunFault(str(entry), loss.reason, env_steps, name=handle.name, stacks=loss.stacks)

    def _wait(self, number: int) -> list[RunFault]:
        deadline = time.monotonic() + self._timeout_s
        back: list[RunFault] = []
        while len(self.handles) < number:
            check_alive()
            left = deadline - time.monotonic()
            if left <= 0.0:
                raise WorkerLostError(
                    f"{len(self.handles)} of {number} collectors came up in {self._timeout_s:g} s: the cluster has no "
                    "place for more (distpolicy doctor shows its nodes), or they need longer: raise timeout_s"
                )
            back += self._admit(min(left, _LOOK_S))
        return back

    def _admit(self, wait_s: float) -> list[RunFault]:
        for entry in self._entries:
            if entry.handle is None and entry.starting is None and time.monotonic() >= entry.due:
                self._start_actor(entry, self._next_generation())
        waiting = {entry.answer: entry for entry in self._entries if entry.starting is not None}
        if not waiting:
            time.sleep(wait_s)
            return []
        up, _ = calls.wait(list(waiting), len(waiting) if wait_s == 0.0 else 1, wait_s)
        faults = [self._take_in(waiting[answer]) for answer in up]
        return [fault for fault in faults if fault is not None]

    def _take_in(self, entry: _Entry) -> RunFault | None:
        """Admits the actor that has answered, or gives it up if it failed; returns the fault that this ends, if any."""
        handle = entry.starting
        assert handle is not None
        try:
            calls.get(entry.answer, self._timeout_s)
        except DistPolicyError as error:
            by_constructor = failed_in_constructor(error)
            # If the constructor of the first actor raises, the run is at fault. A later actor may be on a bad node.
            if not (entry.progress if by_constructor else is_death(error)):
                raise
            entry.starting = None
            self._give_up(entry, handle, reason_of_death(error), 0)
            return None
        entry.starting, entry.handle = None, handle
        fault, entry.fault = entry.fault, None
        return None if fault is None else fault.recovered()
