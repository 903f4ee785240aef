"""CollectorHandle: a collector that is up, and its pending calls."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from launch.supervision import calls
from launch.supervision.faults import collector_name

# With two calls, a collector works on one while the answer to the other is read; more would not help.
MAX_PENDING_CALLS = 2


class CollectorHandle:
    """A collector that is up.

    Args:
        index: Its place in the pool.
        generation: The generation of its seeds; differs between the handles of an index.
        slots: The env slots that it steps.
        actor: The collector as an actor.

    Attributes:
        index: As given.
        generation: As given.
        slots: As given.
        actor: As given. Code that calls it directly must limit the calls in flight itself.
    """

    def __init__(self, index: int, generation: int, slots: range, actor: Any) -> None:
        self.index, self.generation, self.slots, self.actor = index, generation, slots, actor
        self._pending: deque[Any] = deque()
        self._waiting_since = time.monotonic()

    def __str__(self) -> str:
        return describe_collector(self.index, self.slots)

    @property
    def name(self) -> str:
        """The beginning of its files' names."""
        return collector_name(self.index, self.generation)

    @property
    def num_pending(self) -> int:
        """Number of calls whose answers have not been taken."""
        return len(self._pending)

    @property
    def next_answer(self) -> Any:
        """Reference of the answer to the oldest pending call."""
        return self._pending[0]

    @property
    def waiting_s(self) -> float:
        """Seconds since the last answer was taken, or since the call if there was none; 0 if no call is pending."""
        return time.monotonic() - self._waiting_since if self._pending else 0.0

    def call(self, method: str, *arguments: Any) -> None:
        """Calls a method of the actor; :meth:`take_answer` returns its result.

        Args:
            method: The name of the method.
            arguments: Its arguments.

        Raises:
            RuntimeError: If :data:`MAX_PENDING_CALLS` calls are pending.
        """
        if len(self._pending) >= MAX_PENDING_CALLS:
            raise RuntimeError(f"{self} has {len(self._pending)} calls pending: take an answer first")
        if not self._pending:
            self._waiting_since = time.monotonic()
        self._pending.append(getattr(self.actor, method).remote(*arguments))

    def take_answer(self, timeout_s: float) -> Any:
        """Returns the answer to the oldest call.

        Args:
            timeout_s: Maximum number of seconds to wait for it.

        Raises:
            DistPolicyError: As in :func:`launch.supervision.calls.get`.
        """
        reference = self._pending.popleft()
        self._waiting_since = time.monotonic()
        return calls.get(reference, timeout_s)


def describe_collector(index: int, slots: range) -> str:
    """Returns ``collector 1 (env slots 4 to 7)``."""
    where = f"env slot {slots[0]}" if len(slots) == 1 else f"env slots {slots[0]} to {slots[-1]}"
    return f"collector {index} ({where})"
