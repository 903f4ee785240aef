"""Watchdog: ends a process in which a step hangs, and writes the stacks of its threads to a file."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from distpolicy.errors import DistPolicyError
from distpolicy.utils.files.bounded_files import read_bytes
from distpolicy.utils.time_limits import LONGEST_S
from workers.collection.stop_guard import STOPPED

# How often it checks the counter within the time limit.
_CHECKS = 8
_STEP_DIGITS = 20
_LEFTOVER_S = 60.0
# Stacks that a command has told its user of.
_TOLD_LEFTOVER_S = 86_400.0
# Begins the names of the files of training runs, which lie in the folder of temporary files.
RUN_PREFIX = "distpolicy-"
# Begins the names of the folders of evaluations there; each has a file of this name.
EVALUATION_PREFIX = f"{RUN_PREFIX}evaluate-"
EVALUATION_FILE = "stacks.txt"
_MAX_BYTES = 16 * 2**20


class Hang(NamedTuple):
    """The report of a process that hung.

    Attributes:
        step: The step that hung, counted from 1 since the process began.
        held_gil: Whether it held the GIL. Then a later step may have hung, since the counter could not be checked.
        stacks: The stacks of all threads, as text.
    """

    step: int
    held_gil: bool
    stacks: str

    @property
    def was_stopped(self) -> bool:
        """True if the process was stopped from outside, so that no code of it is at fault."""
        return STOPPED in self.stacks


class Watchdog:
    """A context manager that ends the process, with exit code 1, if a step inside it takes longer than a time limit.

    A thread checks a counter of steps several times within the limit. If the counter has not changed for that long, the
    thread writes the stacks of all threads to a file and ends the process. Code that hangs while it holds the GIL also
    stops this thread. For that case every check restarts a timer of faulthandler, which does not need the GIL. When the
    timer runs out, it writes the stacks and ends the process, too. Steps cost nothing; entering and leaving cost less
    than 0.1 ms.

    Python has one such timer, so only one watchdog of a process may be entered at a time.

    Args:
        path: The file. It is made when the watchdog is first entered, and removed by :meth:`close`.
        timeout_s: The limit in seconds. A hang is found after at most twice that time.
        steps_begun: Returns the number of steps that have begun.
        before_exit: Is called before the process ends, for example to print a message; not if the hanging code holds
            the GIL.
    """

    def __init__(
        self,
        path: Path,
        timeout_s: float,
        steps_begun: Callable[[], int],
        before_exit: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._steps_begun, self._before_exit = path, steps_begun, before_exit
        self._timeout_s = min(timeout_s, LONGEST_S)
        self._file = -1
        self._lock = threading.Lock()
        self._entered = False
        self._seen, self._since = -1, 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def __enter__(self) -> Watchdog:
        """Begins to watch.

        Raises:
            DistPolicyError: If the file cannot be written.
        """
        with self._lock:
            if self._file < 0:
                self._file = self._open()
            self._entered = True
            self._check(time.monotonic())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._entered = False
            faulthandler.cancel_dump_traceback_later()
            self._seen = -1

    def close(self) -> None:
        """Ends the thread and removes the file. It may be called twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        if self._file >= 0:
            os.close(self._file)
            self._path.unlink(missing_ok=True)

    def _open(self) -> int:
        remove_leftovers(self._path.parent)
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            # Without locks in its file system, the file may be taken for a leftover, and a hang is told without stacks.
            with contextlib.suppress(OSError):
                _lock(file)
            return file
        except OSError as error:
            raise DistPolicyError(
                f"cannot write {self._path}: {error.strerror or error}; make its folder writable"
            ) from error

    def _watch(self) -> None:
        while not self._closed.wait(self._timeout_s / _CHECKS):
            with self._lock:
                if self._entered:
                    self._check(time.monotonic())

    def _check(self, now: float) -> None:
        steps = self._steps_begun()
        if steps != self._seen:
            self._seen, self._since = steps, now
            # Written now, since code that holds the GIL would leave no time for it later.
            self._write(steps)
        elif now - self._since >= self._timeout_s:
            faulthandler.dump_traceback(self._file, all_threads=True)
            self._before_exit()
            os._exit(1)
        faulthandler.dump_traceback_later(self._timeout_s, file=self._file, exit=True)

    def _write(self, steps: int) -> None:
        # A full disk must not end a process that works well.
        with contextlib.suppress(OSError):
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, f"{steps:0{_STEP_DIGITS}d}\n".encode())


def remove_leftovers(folder: Path) -> None:
    """Removes what collectors and evaluations have left that were killed; what belongs to living ones is locked.

    Args:
        folder: The folder of temporary files; files of a dataset are left alone.
    """
    for path in folder.glob(f"{RUN_PREFIX}*.stacks"):
        # The run of a collector that has just hung may still have to read its file.
        _remove_leftover(path, _LEFTOVER_S, path.unlink)
    for path in folder.glob(f"{EVALUATION_PREFIX}*"):
        min_age_s = _LEFTOVER_S if read_hang(path / EVALUATION_FILE) is None else _TOLD_LEFTOVER_S
        _remove_leftover(path, min_age_s, partial(shutil.rmtree, path))


def _remove_leftover(path: Path, min_age_s: float, remove: Callable[[], object]) -> None:
    # It is another user's, or another process has just removed it.
    with contextlib.suppress(OSError):
        found = path.lstat()
        if found.st_uid == os.getuid() and time.time() - found.st_mtime > min_age_s:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                _lock(file)
                remove()
            finally:
                os.close(file)


@contextlib.contextmanager
def evaluation_stacks() -> Iterator[Path]:
    """Yields the path of an evaluation's stacks, in a folder of its own, which nobody else can write to.

    The folder is removed at the end, unless there are stacks. Those of evaluations that were killed are removed, too.
    """
    remove_leftovers(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=EVALUATION_PREFIX))
    file = os.open(folder, os.O_RDONLY)
    try:
        # Without locks in its file system, leftovers stay.
        with contextlib.suppress(OSError):
            _lock(file)
        yield folder / EVALUATION_FILE
    finally:
        os.close(file)
        if read_hang(folder / EVALUATION_FILE) is None:
            shutil.rmtree(folder, ignore_errors=True)


def _lock(file: int) -> None:
    """Locks a file or folder for as long as this process lives.

    Raises:
        BlockingIOError: If another process has locked it.
        OSError: If it cannot be locked.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def read_hang(path: Path) -> Hang | None:
    """Reads the file of a watchdog.

    Args:
        path: The file.

    Returns:
        The hang, or None if nothing hung.
    """
    try:
        first, _, stacks = read_bytes(path, _MAX_BYTES).decode("utf-8", "replace").partition("\n")
    except (OSError, ValueError):
        return None
    if not stacks or not first.isdigit():
        return None
    return Hang(int(first), stacks.startswith("Timeout ("), stacks)
