"""StopGuard: a small process that ends its parent if that is stopped (SIGSTOP) for too long.

A stopped process cannot notice this itself, and whoever waits for its answer would take it for a slow one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Begins what the guard writes to the file of stacks.
STOPPED = "The process was stopped"
_MAX_POLL_S = 1.0

# Ends when the pipe from its parent closes, however the parent ends. A process that is traced has another state.
_PROGRAM = """
import os, select, signal, sys, time
timeout_s, path, poll_s, text = float(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
parent, since = os.getppid(), None
while not select.select([0], [], [], poll_s)[0]:
    with open(f"/proc/{parent}/stat") as file:
        state = file.read().rpartition(")")[2].split()[0]
    if state != "T":
        since = None
    elif since is None:
        since = time.monotonic()
    elif time.monotonic() - since >= timeout_s and os.getppid() == parent:
        with open(path, "a") as file:
            if not file.tell():
                file.write("0\\n")
            file.write(text)
        os.kill(parent, signal.SIGKILL)
        break
"""


class StopGuard:
    """Watches over this process until :meth:`close`.

    Args:
        path: The file of stacks, to which it writes that the process was stopped; see
            :func:`workers.collection.watchdog.read_hang`.
        timeout_s: Seconds for which the process may be stopped.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if not Path("/proc/self/stat").exists():
            return  # Only Linux shows the state of a process there.
        poll_s = min(timeout_s / 4.0, _MAX_POLL_S)
        text = f"{STOPPED} for {timeout_s:g} s.\n"
        # In a session of its own, so that what stops the group of its parent does not stop it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, str(timeout_s), str(path), str(poll_s), text],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        """Ends the guard; may be called twice."""
        if self._process is not None:
            process, self._process = self._process, None
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
