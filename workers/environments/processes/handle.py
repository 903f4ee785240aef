"""ProcessHandle: the process of one slot, seen from the process that collects."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from contextlib import suppress

from workers.environments.processes.env_process import DUMP_SIGNAL
from workers.environments.processes.fork_server import ForkServer

_DUMP_TIMEOUT_S = 2.0


class ProcessHandle:
    """Starts a slot's process, and ends it.

    Args:
        fork_server: What forks it.
        row: The slot.
        memory_file: Descriptor of the shared memory.

    Attributes:
        connection: Where it takes commands and answers.

    Raises:
        EnvironmentCrashedError: If it cannot be started.
    """

    def __init__(self, fork_server: ForkServer, row: int, memory_file: int) -> None:
        self._stacks = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self.connection, theirs = socket.socketpair()
        try:
            with theirs:
                self._pid = fork_server.fork(row, theirs, memory_file, self._stacks.fileno())
        except BaseException:
            self.close()
            raise

    def dump_stacks(self) -> str:
        """Has the process write the stacks of its threads, and returns them; empty if it cannot."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, DUMP_SIGNAL)
        deadline = time.monotonic() + _DUMP_TIMEOUT_S
        text = before = ""
        while time.monotonic() < deadline and not (text and text == before):
            time.sleep(0.05)
            before, text = text, self.stacks()
        return text

    def stacks(self) -> str:
        """What the process has written: stacks that were asked for, or those of its end."""
        size = os.fstat(self._stacks.fileno()).st_size
        return os.pread(self._stacks.fileno(), size, 0).decode("utf-8", "replace")

    def kill(self) -> None:
        """Ends the process at once."""
        # Its connection is open on that side as long as it lives: its id is no one else's.
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Lets go of the process, which ends then unless it hangs."""
        self.connection.close()
        self._stacks.close()
