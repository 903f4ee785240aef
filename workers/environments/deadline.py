"""deadline: a limit on the time that an environment may take to be made or closed in this process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import FrameType

from distpolicy.errors import EnvironmentCrashedError
from workers.last_words import end_with

# For an environment to be imported and made. A longer step_timeout_s allows more.
START_TIMEOUT_S = 120.0
# For an environment to close, likewise.
CLOSE_TIMEOUT_S = 30.0

# For code that does not return to Python's interpreter, so that nothing can be raised in it.
_GRACE_S = 5.0


def constructor_deadline(name: str, step_timeout_s: float) -> AbstractContextManager[None]:
    """Limits the time of an environment's constructor; see :func:`deadline`.

    Args:
        name: The environment's id.
        step_timeout_s: The limit of a step in seconds; a constructor has as many, and two minutes at least.
    """
    return deadline(name, "its constructor", max(START_TIMEOUT_S, step_timeout_s))


def close_deadline(name: str, step_timeout_s: float) -> AbstractContextManager[None]:
    """Limits the time of an environment's ``close``; see :func:`deadline`.

    Args:
        name: The environment's id.
        step_timeout_s: The limit of a step in seconds; ``close`` has as many, and half a minute at least.
    """
    return deadline(name, "close", max(CLOSE_TIMEOUT_S, step_timeout_s))


@contextlib.contextmanager
def deadline(name: str, call: str, timeout_s: float) -> Iterator[None]:
    """Limits the time of a call. It does nothing outside the main thread, since only that one can be interrupted.

    Code outside Python cannot be interrupted. If such code has not returned some seconds after the deadline, the
    process prints the error and ends with exit code 1.

    Args:
        name: The environment's id.
        call: What is called, for the message, such as ``close``.
        timeout_s: Seconds.

    Raises:
        EnvironmentCrashedError: If the time is over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    message = f"env {name} hung in {call}: no answer within {timeout_s:g} s; raise step_timeout_s if it needs longer"

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
    except Exception as error:
        # Whoever has caught the interruption may have made another error of it.
        if is_over.is_set() and str(error) != message:
            raise EnvironmentCrashedError(message) from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        last_resort.cancel()
        # A process without other threads may fork.
        last_resort.join()
    if is_over.is_set():  # Errors of close are ignored, this one included.
        raise EnvironmentCrashedError(message)
