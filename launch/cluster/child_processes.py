"""The processes of a Ray of our own, none of which outlives the command."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator

import psutil

Processes = frozenset[psutil.Process]

_SET_CHILD_SUBREAPER = 36  # prctl(2)
_GRACE_S = 3.0
_KILLED_S = 2.0


@contextlib.contextmanager
def none_left(start: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """The time between two calls, the first of which starts processes; after the second they have ended.

    Those that take seconds are killed, and those that they have started, too. What this process has started otherwise
    stays.

    Args:
        start: Starts the processes. If it is interrupted, it is stopped all the same.
        stop: Tells them to end.
    """
    before = _children()
    started: Processes = frozenset()
    try:
        with _orphans_adopted():
            try:
                start()
            finally:
                started = _children() - before
        yield
    finally:
        others = _with_descendants(_children() - started)
        with _orphans_adopted():
            stop()
            _end_all(others)


@contextlib.contextmanager
def _orphans_adopted() -> Iterator[None]:
    """What descendants leave behind becomes this process's meanwhile, and is not out of sight; on Linux alone.

    Ray's raylet starts agents, and those outlive it by a minute if it ends before they are up. Only for a while: a
    child that has ended stays in the table of processes until its parent asks for it.
    """
    _adopt_orphans(True)
    try:
        yield
    finally:
        _adopt_orphans(False)


def _adopt_orphans(on: bool) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def _children() -> Processes:
    return frozenset(psutil.Process().children())


def _with_descendants(processes: Processes) -> Processes:
    found = set(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.update(process.children(recursive=True))
    return frozenset(found)


def _end_all(others: Processes) -> None:
    _end(_with_descendants(_children()) - others, psutil.Process.terminate, _GRACE_S)
    # One that was about to end may have started another meanwhile.
    while left := _with_descendants(_children()) - others:
        if _end(left, psutil.Process.kill, _KILLED_S):
            return  # The kernel holds it, and nothing here can change that.


def _end(processes: Processes, how: Callable[[psutil.Process], None], timeout_s: float) -> list[psutil.Process]:
    """Ends processes; those that have not ended in time."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            how(process)
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    return alive
