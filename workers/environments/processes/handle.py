"""ProcessHandle: the collector's side of one environment's process."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from contextlib import suppress

from distpolicy.utils.waiting_sockets import socket_pair
from workers.environments.processes.env_process import DUMP_SIGNAL
from workers.environments.processes.fork_server import ForkServer

_DUMP_TIMEOUT_S = 2.0


class ProcessHandle:
    """Starts and ends the process of one environment.

    Args:
        fork_server: Forks the process.
        row: The env slot.
        memory_file: File descriptor of the shared memory.

    Attributes:
        connection: Socket for commands to the process and its answers.

    Raises:
        EnvironmentCrashedError: If the process cannot be started.
    """

    def __init__(self, fork_server: ForkServer, row: int, memory_file: int) -> None:
        self._stacks = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._process: int | None = None
        self.connection, theirs = socket_pair()
        try:
            with theirs:
                self._process = fork_server.fork(row, theirs, memory_file, self._stacks.fileno())
        except BaseException:
            self.close()
            raise

    def dump_stacks(self) -> str:
        """Makes the process write the stacks of its threads and returns them. Returns an empty text if it cannot."""
        self._send(DUMP_SIGNAL)
        deadline = time.monotonic() + _DUMP_TIMEOUT_S
        text = before = ""
        while time.monotonic() < deadline and not (text and text == before):
            time.sleep(0.05)
            before, text = text, self.stacks()
        return text

    def stacks(self) -> str:
        """Returns the stacks that the process has written, on request or when it crashed."""
        size = os.fstat(self._stacks.fileno()).st_size
        return os.pread(self._stacks.fileno(), size, 0).decode("utf-8", "replace")

    def kill(self) -> None:
        """Kills the process."""
        self._send(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Closes the connection. The process ends then, unless it hangs."""
        self.connection.close()
        self._stacks.close()
        if self._process is not None:
            os.close(self._process)
            self._process = None

    def _send(self, number: int) -> None:
        """Sends a signal to the process, if it is still there. Its id may be another process's by now."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)
