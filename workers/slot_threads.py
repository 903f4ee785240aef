"""SlotThreads: a thread for each group of slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

Result = TypeVar("Result")


class SlotThreads:
    """Runs a call for each group: the first group's in the caller's thread, every other's in one of its own.

    A group has the same thread from call to call, since there are environments (those that render, for one) that have
    to stay in the thread that made them. One group needs no thread.

    Args:
        num_groups: How many groups.
    """

    def __init__(self, num_groups: int) -> None:
        self._executors = [
            ThreadPoolExecutor(1, thread_name_prefix=f"slot-group-{group}") for group in range(1, num_groups)
        ]

    def run(self, calls: Sequence[Callable[[], Result]]) -> list[Result]:
        """What the calls return, once all of them have ended.

        Args:
            calls: One for each group.

        Raises:
            Exception: What the first of the calls that failed raised.
        """
        futures = [executor.submit(call) for executor, call in zip(self._executors, calls[1:], strict=True)]
        try:
            first = calls[0]()
        finally:
            wait(futures)
        return [first, *(future.result() for future in futures)]

    def close(self) -> None:
        """Ends the threads; may be called twice."""
        for executor in self._executors:
            executor.shutdown()
