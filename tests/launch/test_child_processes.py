"""Processes that are started on the way end with their starter, however far they went from it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from launch.child_processes import none_left, started_processes_ended

# A grandchild in a session of its own, whose parent ends at once.
IN_THE_BACKGROUND = "import subprocess, sys; subprocess.Popen(['sleep', '300'], start_new_session=True)"


def sleeping() -> set[int]:
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] == ["sleep", "300"]:
            found.add(process.pid)
    return found


def test_a_process_in_the_background_of_another_one_is_ended(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []
    before = sleeping()

    def start() -> None:
        code = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {IN_THE_BACKGROUND!r}])\n"
        started.append(subprocess.Popen([sys.executable, "-c", f"{code}time.sleep(300)"]))

    mine = subprocess.Popen(["sleep", "301"])
    try:
        with none_left(start, lambda: None):
            assert "DISTPOLICY_STARTED_BY" not in os.environ
            deadline = time.monotonic() + 30.0
            while not (found := sleeping() - before) and time.monotonic() < deadline:
                time.sleep(0.05)
            (program,) = found
            assert program not in {child.pid for child in psutil.Process(started[0].pid).children(recursive=True)}
        assert program not in sleeping()
        assert started[0].poll() is not None
        assert mine.poll() is None
    finally:
        mine.kill()
        mine.wait()


def test_whatever_is_started_in_a_command_s_own_process_is_ended() -> None:
    before, mine = sleeping(), subprocess.Popen(["sleep", "301"])
    try:
        with started_processes_ended():
            theirs = subprocess.Popen(["sleep", "300"])
            # Its parent has ended by the end of the block.
            subprocess.run([sys.executable, "-c", IN_THE_BACKGROUND], check=True)
            assert len(sleeping() - before) == 2
            marked = os.environ["DISTPOLICY_STARTED_BY"]
            with none_left(lambda: None, lambda: None):
                pass
            assert os.environ["DISTPOLICY_STARTED_BY"] == marked
        assert not sleeping() - before
        assert theirs.poll() is not None
        assert mine.poll() is None
        assert "DISTPOLICY_STARTED_BY" not in os.environ
    finally:
        mine.kill()
        mine.wait()
