"""SIGINT and SIGTERM as an exception that carries the exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal ended the run.

    Args:
        signal_number: The signal's number.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handles a signal: raises :class:`Interrupted`."""
    raise Interrupted(number)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None] | None) -> Iterator[None]:
    """Handles SIGINT and SIGTERM with a handler inside the ``with`` block; None ignores them."""
    received: list[int] = []

    def noting(number: int, frame: FrameType | None) -> None:
        received.append(number)
        assert handler is not None
        handler(number, frame)

    chosen = signal.SIG_IGN if handler is None else noting
    before = {number: signal.signal(number, chosen) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt as interruption:
        # A waiting call of Ray's raises its own KeyboardInterrupt instead of the handler's.
        if received and not isinstance(interruption, Interrupted):
            raise Interrupted(received[-1]) from interruption
        raise
    except SystemExit as end:
        # While Ray starts, it sets its own handler of SIGTERM.
        raise Interrupted(signal.SIGTERM) from end
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
