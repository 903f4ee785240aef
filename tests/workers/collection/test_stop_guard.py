"""The guard over a process that is stopped, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from launch.supervision.actor_errors import describe_hang
from workers.collection.stop_guard import StopGuard
from workers.collection.watchdog import read_hang

GUARDED = """
import sys, time
from pathlib import Path
from workers.collection.stop_guard import StopGuard
guard = StopGuard(Path(sys.argv[1]), float(sys.argv[2]))
print(guard._process.pid, flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the state of a process in /proc")


def guarded(path: Path, timeout_s: float) -> tuple[subprocess.Popen[str], psutil.Process]:
    command = [sys.executable, "-c", GUARDED, str(path), str(timeout_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    return process, psutil.Process(int(process.stdout.readline()))


@pytest.mark.parametrize("before", ["", "00000000000000000041\n"])
def test_a_process_that_is_stopped_is_ended_and_its_file_says_so(before: str, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    path.write_text(before)
    process, guard = guarded(path, 0.4)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGSTOP)
    assert process.wait(20.0) == -signal.SIGKILL
    assert time.monotonic() - start >= 0.3
    guard.wait(10.0)
    hang = read_hang(path)
    assert hang is not None
    assert hang.step == (41 if before else 0)
    assert describe_hang(hang, "env", 0.4) == "was stopped (SIGSTOP) for more than 0.4 s (step_timeout_s)"


def test_a_process_that_goes_on_in_time_is_left_alone_and_its_end_ends_the_guard(tmp_path: Path) -> None:
    process, guard = guarded(tmp_path / "stacks", 2.0)
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.8)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.8)
    assert process.poll() is None
    assert not (tmp_path / "stacks").exists()
    process.kill()
    process.wait()
    guard.wait(10.0)


def test_a_guard_that_is_closed_is_gone(tmp_path: Path) -> None:
    guard = StopGuard(tmp_path / "stacks", 60.0)
    assert guard._process is not None
    pid = guard._process.pid
    guard.close()
    guard.close()
    assert not psutil.pid_exists(pid)
