"""Processes that are started on the way end with their starter, however far they went from it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from launch.cluster.child_processes import none_left

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
