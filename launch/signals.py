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
        # A call of Ray's that waits raises one of its own in place of what the handler has raised.
        if received and not isinstance(interruption, Interrupted):
            raise Interrupted(received[-1]) from interruption
        raise
    except SystemExit as end:
        # While it starts, Ray has handlers of SIGTERM of its own.
        raise Interrupted(signal.SIGTERM) from end
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
