"""Saves of a checkpoint, each in a process that is killed at one of its system calls: the first, the second, ...

A script: it has to be forked from, so that it has no threads and has imported little. It prints a line of JSON a save:
what `load_latest` finds after it.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from launch.training.checkpoint_store import CheckpointStore
from launch.training.totals import TrainingTotals

_TRACEME, _SYSCALL = 0, 24
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def save(folder: Path, updates: int, mark: float, keep: int = 2) -> None:
    """A checkpoint whose parts and totals all hold the mark."""
    state = {name: np.full(100, mark) for name in ("policy/kernel", "optimizer/0", "learner/version")}
    CheckpointStore(folder, keep).save(state, TrainingTotals(updates, train_s=mark))


def mark_of(folder: Path) -> float | None:
    """The mark of the newest checkpoint, which has to be whole; None if there is none."""
    found = CheckpointStore(folder, keep=1).load_latest()
    if found is None:
        return None
    assert not found.refused, found.refused
    marks = {found.totals.train_s, *(float(value) for array in found.state.values() for value in array)}
    assert len(marks) == 1, marks
    return marks.pop()


def killed(work: Callable[[], None], num_stops: int) -> bool:
    """Runs it in a child that is killed when a system call of its has stopped it so often; False if it ends before.

    A call stops it when it begins and when it ends: every other kill is in the middle of one.
    """
    child = os.fork()
    if child == 0:
        _libc.ptrace(_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    for _ in range(num_stops):
        if _libc.ptrace(_SYSCALL, child, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return False
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    return True


def main() -> None:
    folder, before, updates, keep = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    num_stops, alive = 0, False
    while not alive:
        shutil.rmtree(folder, ignore_errors=True)
        for number in before:
            save(folder, number, mark=number, keep=len(before))
        alive = not killed(lambda: save(folder, updates, mark=99, keep=keep), num_stops)
        found = mark_of(folder)
        left = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        save(folder, 50, mark=50, keep=1)
        after = [mark_of(folder), *sorted(path.name for path in folder.iterdir())]
        print(json.dumps({"stops": num_stops, "killed": not alive, "found": found, "left": left, "after": after}))
        num_stops += 1


if __name__ == "__main__":
    main()
