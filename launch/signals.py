"""SIGINT, SIGTERM and SIGHUP as an exception that carries the exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal ended the run.

    Args:
        signal_number: The signal's number.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


# SIGHUP comes when the terminal is closed.
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handles the first signal: raises :class:`Interrupted`, which ends the run after it has saved what it has.

    The second one raises it again, which ends the saving. Further ones are ignored, so that the workers are ended.
    """
    if number == signal.SIGHUP:
        _forget_terminal()
    for each in _handled_numbers():
        signal.signal(each, leave)
    raise Interrupted(number)


def leave(number: int, frame: FrameType | None) -> None:
    """Handles a signal: raises :class:`Interrupted`. Further ones are ignored."""
    for each in _handled_numbers():
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


def _take_default(number: int) -> None:
    """Ends a process that was forked from the command, as an environment may do: it has inherited the handler."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _handled_numbers() -> list[int]:
    # nohup has ignored SIGHUP: the command is to outlive its terminal.
    return [
        number for number in NUMBERS if number != signal.SIGHUP or signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    ]


def _forget_terminal() -> None:
    """Lets output go nowhere that would go to a terminal: writing to a closed one fails."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handles SIGINT, SIGTERM and SIGHUP with a handler inside the ``with`` block.

    The handlers are as before after it, unless :func:`interrupt` has handled a signal: then the process is about to
    end, and a second signal has to leave at once.
    """
    received: list[int] = []
    process = os.getpid()

    def noting(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            _take_default(number)
        received.append(number)
        handler(number, frame)

    before = {number: signal.signal(number, noting) for number in _handled_numbers()}
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
            # After interrupt() the process is about to end.
            if signal.getsignal(number) not in (leave, signal.SIG_IGN):
                signal.signal(number, previous)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Holds a signal back until the ``with`` block is over, so that the block is run whole; a second one acts at once.

    Other threads than the main one receive no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    before: dict[int, Callable[[int, FrameType | None], Any]] = {
        number: handler for number in NUMBERS if callable(handler := signal.getsignal(number))
    }

    def hold(number: int, frame: FrameType | None) -> None:
        if not waiting:
            waiting.append((number, frame))
            return
        waiting.clear()
        give_back()
        before[number](number, frame)

    def give_back() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is hold:
                signal.signal(number, handler)

    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        give_back()
        if waiting:
            late, frame = waiting.pop()
            before[late](late, frame)
