"""Runs scripts of other libraries: each prints marks of its progress, and is ended with all that it has started."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
# A variable that all processes of a run inherit: some of them leave their process group.
MARK = "DISTPOLICY_BENCHMARK_PEER"
# Longer than the peers' imports take on a busy machine.
START_UP_S = 180.0


class Mark(NamedTuple):
    """What a peer had done at a time.

    Attributes:
        seconds: Seconds since its training began.
        env_steps: Env steps so far.
        return_mean: Mean return of the last episodes; NaN if it is not told.
    """

    seconds: float
    env_steps: int
    return_mean: float


def run_peer(python: str, script: str, *options: str, is_done: Callable[[Mark], bool], deadline_s: float) -> list[Mark]:
    """Runs a script of ``peers/`` until it has done enough, and then ends all its processes.

    Args:
        python: The Python that has the peer.
        script: Name of the script. It prints each mark as a line of JSON: seconds, env steps, mean return.
        options: Its options.
        is_done: Returns True at the mark that is enough.
        deadline_s: Seconds of training after which it is ended in any case.

    Returns:
        The marks, at least one.

    Raises:
        RuntimeError: If there are none.
    """
    name = uuid.uuid4().hex
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {MARK: name}
    command = [python, str(HERE / "peers" / script), *options]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True
        )
        try:
            marks = _marks_of(process, is_done, deadline_s)
        finally:
            _end_all(process, name)
        if not marks:
            errors.seek(0)
            raise RuntimeError(f"`{' '.join(command)}` told nothing: {errors.read()[-1000:].strip()}")
    return marks


def steps_per_s(marks: Sequence[Mark]) -> float:
    """Returns the env steps a second in the second half of a run; 0 if there are too few marks."""
    first = next(mark for mark in marks if mark.env_steps >= marks[-1].env_steps / 2)
    seconds = marks[-1].seconds - first.seconds
    return (marks[-1].env_steps - first.env_steps) / seconds if seconds > 0 else 0.0


def _marks_of(process: subprocess.Popen[str], is_done: Callable[[Mark], bool], deadline_s: float) -> list[Mark]:
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    marks: list[Mark] = []
    deadline = time.monotonic() + START_UP_S
    while True:
        try:
            line = lines.get(timeout=max(deadline - time.monotonic(), 0.0))
        except queue.Empty:
            return marks
        if line is None:
            return marks
        with contextlib.suppress(ValueError, TypeError):  # what the peer itself prints
            mark = Mark(*json.loads(line))
            if not marks:
                deadline = time.monotonic() + deadline_s
            marks.append(mark)
            if is_done(mark):
                return marks


def _read(lines: Sequence[str], found: queue.Queue[str | None]) -> None:
    for line in lines:
        found.put(line)
    found.put(None)


def _end_all(process: subprocess.Popen[str], name: str) -> None:
    """Kills the processes of a run: its group, and those that have left it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # A process may start another one while it is looked for.
    while left := _processes_of(name):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _processes_of(name: str) -> list[int]:
    marked, found = f"{MARK}={name}".encode(), []
    for folder in Path("/proc").iterdir():
        # It may have ended meanwhile, or be another user's.
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and marked in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found
