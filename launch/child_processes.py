"""Makes sure that processes end with the command: those of a local Ray, and those that environments have started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import uuid
from collections.abc import Callable, Iterator

import psutil

Processes = frozenset[psutil.Process]

_SET_CHILD_SUBREAPER = 36  # prctl(2)
_GRACE_S = 3.0
_MARK = "DISTPOLICY_STARTED_BY"
_KILLED_S = 2.0


@contextlib.contextmanager
def none_left(start: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Calls ``start``, which starts processes; at the end calls ``stop`` and waits until they have ended.

    Processes that do not end within seconds are killed, and their descendants, too, also those that have left their
    parents, such as a simulator that an environment has started in the background. Other children of this process are
    left alone.

    Args:
        start: Starts the processes. If it raises or is interrupted, ``stop`` is called, too.
        stop: Tells the processes to end.
    """
    before = _children()
    started: Processes = frozenset()
    mark = uuid.uuid4().hex
    try:
        with _orphans_adopted(), _marking(mark):
            try:
                start()
            finally:
                started = _children() - before
        yield
    finally:
        others = _with_descendants(_children() - started)
        with _orphans_adopted():
            try:
                stop()
            finally:
                _end_all(others)
                _end(_marked(mark), psutil.Process.kill, _KILLED_S)


@contextlib.contextmanager
def started_processes_ended() -> Iterator[None]:
    """Ends, after the block, the processes that were started in it, and their descendants.

    An environment in the command's own process may have started a simulator, and not have ended it. Python would wait
    for one that ``multiprocessing`` has started.
    """
    before = _children()
    mark = uuid.uuid4().hex
    with _marking(mark):
        try:
            yield
        finally:
            with _orphans_adopted():
                _end_all(_with_descendants(before))
                _end(_marked(mark), psutil.Process.kill, _KILLED_S)


@contextlib.contextmanager
def adopted_processes_ended() -> Iterator[None]:
    """Ends, after the block, the children that were started in it, and what they have started, whoever has ended it.

    It is for a short block without a Ray, since it adopts orphans all the time.
    """
    before = _children()
    with _orphans_adopted():
        try:
            yield
        finally:
            _end_all(_with_descendants(before))


@contextlib.contextmanager
def _orphans_adopted() -> Iterator[None]:
    """Makes orphans of this process's descendants its children, so that it can find them. Works on Linux only.

    Ray's raylet starts agents, which outlive it by a minute if it ends before they are up. Orphans are adopted for a
    short time only, since a child that has ended stays a zombie until its parent waits for it.
    """
    _adopt_orphans(True)
    try:
        yield
    finally:
        _adopt_orphans(False)


def _adopt_orphans(on: bool) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


@contextlib.contextmanager
def _marking(mark: str) -> Iterator[None]:
    """Gives a variable to the processes that are started meanwhile, and so to those that they start."""
    before = os.environ.get(_MARK)
    os.environ[_MARK] = mark
    try:
        yield
    finally:
        if before is None:
            del os.environ[_MARK]
        else:
            os.environ[_MARK] = before


def _marked(mark: str) -> Processes:
    found = set()
    for process in psutil.process_iter():
        # It may have ended, or be another user's.
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process)
    return frozenset(found)


def _children() -> Processes:
    return frozenset(process for process in psutil.Process().children() if not _ends_by_itself(process))


def _ends_by_itself(process: psutil.Process) -> bool:
    """Returns True for Python's own helper, which frees what this process has left, and ends after it."""
    try:
        return "multiprocessing.resource_tracker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _with_descendants(processes: Processes) -> Processes:
    found = set(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.update(process.children(recursive=True))
    return frozenset(found)


def _end_all(others: Processes) -> None:
    _end(_with_descendants(_children()) - others, psutil.Process.terminate, _GRACE_S)
    # A process may have started another one before it ended.
    while left := _with_descendants(_children()) - others:
        if _end(left, psutil.Process.kill, _KILLED_S):
            return  # A process that survives SIGKILL is blocked in the kernel.


def _end(processes: Processes, how: Callable[[psutil.Process], None], timeout_s: float) -> list[psutil.Process]:
    """Ends processes, and returns those that have not ended in time."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            how(process)
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    return alive
