"""CollectorPool: the collectors of a training run, which come and go."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import ray

from distpolicy.errors import DistPolicyError, EnvironmentCrashedError, WorkerLostError
from launch.supervision import calls
from launch.supervision.actor_errors import failed_in_constructor, is_death, reason_of_death
from launch.supervision.faults import RunFault, collector_name
from workers.restart_budget import RestartBudget, RestartBudgetConfig

# Of one collector, as long as it has not delivered anything in between: a rollout is its step.
REPLACEMENTS = RestartBudgetConfig(max_restarts=10, window_steps=1, backoff_s=0.5, max_backoff_s=30.0)

_LOOK_S = 0.5


@dataclass(frozen=True, eq=False)
class CollectorHandle:
    """A collector that is up.

    Attributes:
        index: Its seat.
        generation: The generation of its seeds; no two handles of a seat share one.
        actor: A :class:`workers.collection.collector.Collector` as an actor.
    """

    index: int
    generation: int
    actor: Any


class WorkerLoss(NamedTuple):
    """Why a collector was lost.

    Attributes:
        reason: In one line.
        stacks: The stacks of its threads, if it hung; else empty.
    """

    reason: str
    stacks: str = ""


class _Seat:
    def __init__(self, index: int, replacements: RestartBudgetConfig) -> None:
        self.index = index
        self.budget = RestartBudget(replacements)
        self.num_delivered = 0
        self.due = 0.0  # when an actor may be started here
        self.starting: CollectorHandle | None = None
        self.answer: Any = None  # of the actor that is starting, once it is up
        self.handle: CollectorHandle | None = None
        self.fault: RunFault | None = None


class CollectorPool:
    """Seats for collectors, and the actors that fill them.

    A collector that dies is replaced by one with seeds of its own, which comes up while the others go on. So do
    those that found no place at first: Ray starts them when nodes have joined.

    Args:
        start: Starts the actor of a seat for a generation.
        size: How many seats there are.
        minimum: How many collectors there have to be to begin.
        describe: Names the collector of a seat, for messages.
        next_generation: Gives a generation that no collector of the run has had.
        timeout_s: Seconds within which collectors have to come up where nothing can go on without.
        replacements: How many of one collector are borne, and the waits before them.
        explain: Tells of a handle that is lost and Ray's reason what really became of it.
    """

    def __init__(
        self,
        start: Callable[[int, int], Any],
        size: int,
        minimum: int,
        describe: Callable[[int], str],
        next_generation: Callable[[], int],
        timeout_s: float,
        replacements: RestartBudgetConfig = REPLACEMENTS,
        explain: Callable[[CollectorHandle, str], WorkerLoss] = lambda handle, reason: WorkerLoss(reason),
    ) -> None:
        self._start, self._minimum, self._describe = start, minimum, describe
        self._next_generation, self._timeout_s, self._explain = next_generation, timeout_s, explain
        self._seats = [_Seat(index, replacements) for index in range(size)]

    @property
    def size(self) -> int:
        """How many seats there are."""
        return len(self._seats)

    @property
    def handles(self) -> list[CollectorHandle]:
        """Those that are up, in the order of their seats."""
        return [seat.handle for seat in self._seats if seat.handle is not None]

    def start(self, generation: int) -> None:
        """Starts an actor in every seat; nothing is waited for."""
        for seat in self._seats:
            self._fill(seat, generation)

    def begin(self) -> list[RunFault]:
        """Waits until there are as many as have to be there to begin.

        Returns:
            Those that were lost meanwhile and are back.

        Raises:
            DistPolicyError: If they do not come up in time, or cannot: what a constructor raised.
        """
        return self._wait(self._minimum)

    def admit(self) -> list[RunFault]:
        """Takes in those that have come up; nothing is waited for.

        Returns:
            Of those that were lost before, what became of them.

        Raises:
            WorkerLostError: If one has been replaced too often.
        """
        return self._admit(0.0) if any(seat.handle is None for seat in self._seats) else []

    def wait_for_one(self) -> list[RunFault]:
        """Waits until there is a collector.

        Returns:
            Those that were lost before and are back.

        Raises:
            WorkerLostError: If none comes up in time.
        """
        return self._wait(1)

    @property
    def open_faults(self) -> list[RunFault]:
        """Those of seats whose collector is not back."""
        return [seat.fault for seat in self._seats if seat.fault is not None]

    def delivered(self, handle: CollectorHandle) -> None:
        """Notes that a handle has delivered a rollout: it counts as sound from then on."""
        self._seats[handle.index].num_delivered += 1

    def lose(self, handle: CollectorHandle, reason: str, env_steps: int) -> RunFault | None:
        """Ends a handle, and has it replaced.

        Args:
            handle: The handle.
            reason: Why, in one line, as far as Ray knows.
            env_steps: Env steps that are lost with it.

        Returns:
            The fault; None if the handle was given up before.

        Raises:
            EnvironmentCrashedError: If it hung and has been replaced too often.
            WorkerLostError: If it has been replaced too often for other reasons.
        """
        seat = self._seats[handle.index]
        if seat.handle is not handle:
            return None
        seat.handle = None
        self._give_up(seat, handle, reason, env_steps)
        return seat.fault

    def close(self) -> None:
        """Ends all collectors; may be called twice."""
        for seat in self._seats:
            for held in (seat.handle, seat.starting):
                if held is not None:
                    ray.kill(held.actor)
            seat.handle = seat.starting = seat.answer = None
            seat.due = math.inf

    def _fill(self, seat: _Seat, generation: int) -> None:
        seat.starting = CollectorHandle(seat.index, generation, self._start(seat.index, generation))
        seat.answer = seat.starting.actor.ping.remote()

    def _give_up(self, seat: _Seat, handle: CollectorHandle, reason: str, env_steps: int) -> None:
        ray.kill(handle.actor)
        loss, what = self._explain(handle, reason), self._describe(seat.index)
        if not seat.budget.take(seat.num_delivered):
            told = f"{what} was lost {seat.budget.num_recent + 1} times in a row; the last time: {loss.reason}"
            if loss.stacks:
                raise EnvironmentCrashedError(told, traceback=loss.stacks)
            raise WorkerLostError(told)
        seat.due = time.monotonic() + seat.budget.wait_s
        if seat.fault is None:
            name = collector_name(handle.index, handle.generation)
            seat.fault = RunFault(what, loss.reason, env_steps, name=name, stacks=loss.stacks)

    def _wait(self, number: int) -> list[RunFault]:
        deadline = time.monotonic() + self._timeout_s
        back: list[RunFault] = []
        while len(self.handles) < number:
            left = deadline - time.monotonic()
            if left <= 0.0:
                raise WorkerLostError(
                    f"{len(self.handles)} of {number} collectors came up in {self._timeout_s:g} s: the cluster has no "
                    "place for more (distpolicy doctor shows its nodes), or raise timeout_s"
                )
            back += self._admit(min(left, _LOOK_S))
        return back

    def _admit(self, wait_s: float) -> list[RunFault]:
        for seat in self._seats:
            if seat.handle is None and seat.starting is None and time.monotonic() >= seat.due:
                self._fill(seat, self._next_generation())
        waiting = {seat.answer: seat for seat in self._seats if seat.starting is not None}
        if not waiting:
            time.sleep(wait_s)
            return []
        up, _ = ray.wait(list(waiting), num_returns=len(waiting) if wait_s == 0.0 else 1, timeout=wait_s)
        back = []
        for answer in up:
            fault = self._seat(waiting[answer])
            if fault is not None:
                back.append(fault)
        return back

    def _seat(self, seat: _Seat) -> RunFault | None:
        """Takes in the actor that has answered, or gives it up."""
        handle, seat.starting = seat.starting, None
        assert handle is not None
        try:
            calls.get(seat.answer, self._timeout_s)
        except DistPolicyError as error:
            # What its first actor raises is wrong with the run; later ones may have come to a bad node.
            if not is_death(error) or (failed_in_constructor(error) and not seat.num_delivered):
                raise
            self._give_up(seat, handle, reason_of_death(error), 0)
            return None
        seat.handle = handle
        fault, seat.fault = seat.fault, None
        return None if fault is None else fault.recovered()
