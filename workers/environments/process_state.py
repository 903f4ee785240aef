"""What an environment must not change in the process that makes it: the handlers of signals that end a command."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from workers.environments.fault_log import is_fault

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Sets the handlers of SIGINT, SIGTERM and SIGHUP back after an environment was made.

    Clients of some simulators install handlers of their own, so that Ctrl-C would not reach the command. Only the main
    thread can set handlers; nothing is done in another one. Nothing is set back after an error either: a signal may be
    its cause, and its handler may have set others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    yield
    for number, handler in before.items():
        # None is a handler that was not set from Python.
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def close_quietly(env: Any) -> None:
    """Closes an environment. One that is broken, or that leaves its process when it is closed, may raise anything.

    Args:
        env: An environment, or several of them, with a method ``close``.
    """
    try:
        env.close()
    except BaseException as error:
        if not is_fault(error):
            raise
