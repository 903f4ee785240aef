"""deadline: a limit on the time that an environment may take in the command's own process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from distpolicy.errors import EnvironmentCrashedError
from workers.last_words import end_with

# For code that does not return to Python's interpreter, so that nothing can be raised in it.
_GRACE_S = 5.0


@contextlib.contextmanager
def deadline(name: str, call: str, timeout_s: float) -> Iterator[None]:
    """Limits the time of a call. It does nothing outside the main thread, since only that one can be interrupted.

    Code outside Python cannot be interrupted. If such code has not returned some seconds after the deadline, the
    process prints the error and ends with exit code 1.

    Args:
        name: The environment's id.
        call: What is called, for the message: ``its constructor`` or ``close``.
        timeout_s: Seconds.

    Raises:
        EnvironmentCrashedError: If the time is over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    message = f"env {name} hung in {call}: no answer within {timeout_s:g} s"

    is_over = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        is_over.set()
        raise EnvironmentCrashedError(message)

    last_resort = threading.Timer(timeout_s + _GRACE_S, end_with, (message,))
    last_resort.daemon = True
    before = signal.signal(signal.SIGALRM, interrupt)
    last_resort.start()
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        last_resort.cancel()
    if is_over.is_set():  # Errors of close are ignored, this one included.
        raise EnvironmentCrashedError(message)
