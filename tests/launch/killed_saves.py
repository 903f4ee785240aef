"""Saves of a checkpoint, each in a process that is killed at one of its system calls: the first, the second, ...

A checkpoint has rows of a replay buffer: segments of the checkpoint before, which it links to, and one of its own.

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

from launch.training.checkpoint_store import Checkpoint, CheckpointStore
from launch.training.totals import TrainingTotals
from workers.learning.learner import SEGMENTS

_TRACEME, _SYSCALL = 0, 24
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def saving(folder: Path, updates: int, mark: float, keep: int = 2) -> Callable[[], object]:
    """Saves, when it is called, a checkpoint whose parts, totals and newest segment all hold the mark."""
    store = CheckpointStore(folder, keep)
    before = store.load_latest()
    # As of a full ring: the rows of the oldest segment are written over.
    names = [] if before is None else [str(name) for name in before.state[SEGMENTS][-2:]]
    state = {name: np.full(100, mark) for name in ("policy/kernel", "optimizer/0", "learner/version")}
    state[SEGMENTS] = np.array([*names, f"segment-{mark:g}"])
    state[f"segment-{mark:g}/reward"] = rows(mark)
    return lambda: store.save(state, TrainingTotals(updates, train_s=mark))


def save(folder: Path, updates: int, mark: float, keep: int = 2) -> None:
    """Saves a checkpoint as :func:`saving` does, at once."""
    saving(folder, updates, mark, keep)()


def rows(mark: float) -> np.ndarray:
    """The rows of a segment."""
    return mark * 1_000 + np.arange(200)


def mark_of(folder: Path) -> float | None:
    """The mark of the newest checkpoint, which has to be whole; None if there is none."""
    return mark_and_segments(CheckpointStore(folder, keep=1).load_latest())[0]


def mark_and_segments(found: Checkpoint | None) -> tuple[float | None, list[float]]:
    """The mark of a checkpoint, and those of its segments, each of which has to be there with exactly its rows."""
    if found is None:
        return None, []
    assert not found.refused, found.refused
    state = dict(found.state)
    for segment in found.segments():
        state |= segment
    names = [str(name) for name in state.pop(SEGMENTS)]
    segments = [float(name.removeprefix("segment-")) for name in names]
    for name, mark in zip(names, segments, strict=True):
        np.testing.assert_array_equal(state.pop(f"{name}/reward"), rows(mark))
    marks = {found.totals.train_s, segments[-1], *(float(value) for array in state.values() for value in array)}
    assert len(marks) == 1, marks
    return marks.pop(), segments


def killed(work: Callable[[], object], num_stops: int) -> bool:
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
        alive = not killed(saving(folder, updates, mark=99, keep=keep), num_stops)
        found, segments = mark_and_segments(CheckpointStore(folder, keep=1).load_latest())
        left = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        save(folder, 50, mark=50, keep=1)
        after = [mark_of(folder), *sorted(path.name for path in folder.iterdir())]
        told = {"stops": num_stops, "killed": not alive, "found": found, "segments": segments}
        print(json.dumps({**told, "left": left, "after": after}))
        num_stops += 1


if __name__ == "__main__":
    main()
