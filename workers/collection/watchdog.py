"""Watchdog: ends a process in which a step hangs, and leaves the stacks of its threads."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from distpolicy.errors import DistPolicyError

# How often it looks within the time limit.
_LOOKS = 8
_STEP_DIGITS = 20


class Hang(NamedTuple):
    """What a process that hung has left.

    Attributes:
        step: The step that hung, counted from 1 since the process began.
        held_gil: Whether it kept the GIL; then the step may be a later one, since nobody could look.
        stacks: The stacks of all threads.
    """

    step: int
    held_gil: bool
    stacks: str


class Watchdog:
    """While it is entered, a step that takes longer than a time limit ends the process, with exit code 1.

    A thread looks at a counter of steps some times within the limit. When it has not moved for that long, the thread
    writes the stacks of all threads to a file and ends the process. Code that hangs without letting go of the GIL keeps
    this thread from running too: then a timer of faulthandler's, which needs no GIL and is wound up at every look, runs
    out and does the same. Steps cost nothing; entering and leaving cost less than 0.1 ms.

    Python has one such timer: a process has one watch at a time entered.

    Args:
        path: The file, made when the watch is first entered; removed by :meth:`close`.
        timeout_s: The limit; found after at most twice as long.
        steps_begun: Tells how many steps have begun.
    """

    def __init__(self, path: Path, timeout_s: float, steps_begun: Callable[[], int]) -> None:
        self._path, self._steps_begun = path, steps_begun
        self._timeout_s = min(timeout_s, threading.TIMEOUT_MAX)
        self._file = -1
        self._lock = threading.Lock()
        self._entered = False
        self._seen, self._since = -1, 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hang-watch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Watchdog:
        """Begins to watch.

        Raises:
            DistPolicyError: If the file cannot be made.
        """
        with self._lock:
            if self._file < 0:
                self._file = self._open()
            self._entered = True
            self._look(time.monotonic())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._entered = False
            faulthandler.cancel_dump_traceback_later()
            self._seen = -1

    def close(self) -> None:
        """Ends the watch; more than once is no fault."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        if self._file >= 0:
            os.close(self._file)
            self._path.unlink(missing_ok=True)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise DistPolicyError(f"cannot write {self._path}: {error.strerror or error}") from error

    def _watch(self) -> None:
        while not self._closed.wait(self._timeout_s / _LOOKS):
            with self._lock:
                if self._entered:
                    self._look(time.monotonic())

    def _look(self, now: float) -> None:
        steps = self._steps_begun()
        if steps != self._seen:
            self._seen, self._since = steps, now
            # Now: code that holds the GIL leaves no time for it later.
            self._note(steps)
        elif now - self._since >= self._timeout_s:
            faulthandler.dump_traceback(self._file, all_threads=True)
            os._exit(1)
        faulthandler.dump_traceback_later(self._timeout_s, file=self._file, exit=True)

    def _note(self, steps: int) -> None:
        # A full disk shall not end what goes on well.
        with contextlib.suppress(OSError):
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, f"{steps:0{_STEP_DIGITS}d}\n".encode())


def read_hang(path: Path) -> Hang | None:
    """What a watch has left in its file; None if nothing hung."""
    try:
        first, _, stacks = path.read_text("utf-8", "replace").partition("\n")
    except OSError:
        return None
    if not stacks or not first.isdigit():
        return None
    return Hang(int(first), stacks.startswith("Timeout ("), stacks)
