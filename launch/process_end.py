"""end_without_threads: a command ends although an environment has left something that Python waits for."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time

GRACE_S = 5.0

# Exit codes of the commands.
EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2


def end_without_threads(exit_code: int, grace_s: float = GRACE_S) -> None:
    """Lets the process end by itself some seconds after its work, if it has not ended by then.

    At its exit, Python waits for threads that are not daemons, and an environment may have started one that goes on for
    ever, such as a connection to a simulator.

    Args:
        exit_code: The exit code.
        grace_s: Seconds that the threads have.
    """
    names = [thread.name for thread in _waited_for()]
    if not names:
        return

    def end() -> None:
        _warn(names)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)

    timer = threading.Timer(grace_s, end)
    timer.daemon = True
    timer.start()
    # Called once the threads have ended.
    atexit.register(timer.cancel)


def wait_for_threads(grace_s: float = GRACE_S) -> None:
    """Waits for the threads that Python would wait for at its exit, but not for ever.

    Args:
        grace_s: Seconds that the threads have.
    """
    end = time.monotonic() + grace_s
    for thread in _waited_for():
        thread.join(max(end - time.monotonic(), 0.0))
    if left := _waited_for():
        _warn([thread.name for thread in left])


def _waited_for() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]


def _warn(names: list[str]) -> None:
    print(f"distpolicy: warning: ended without a thread that goes on: {', '.join(names)}", file=sys.stderr)
