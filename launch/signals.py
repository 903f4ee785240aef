"""SIGINT and SIGTERM as an exception that carries the exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal ended the run.

    Args:
        signal_number: Which.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler that raises :class:`Interrupted`."""
    raise Interrupted(number)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None] | None) -> Iterator[None]:
    """SIGINT and SIGTERM go to a handler for a while; None ignores them."""
    chosen = signal.SIG_IGN if handler is None else handler
    before = {number: signal.signal(number, chosen) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
