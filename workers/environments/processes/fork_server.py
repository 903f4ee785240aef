"""Slot fork_server: a small process that forks the processes of slots.

The process that collects has TensorFlow's threads and cannot fork safely, and to start an interpreter for every slot
takes half a second each. This one has imported what environments need, has one thread, and does nothing else. It ends,
with all that it forked, when its connection closes: by :meth:`ForkServer.close` or by its parent's end.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import cloudpickle
import gymnasium as gym

from distpolicy.errors import EnvironmentCrashedError
from workers.environments.processes.env_process import SlotJob, die_with_parent, serve_slot
from workers.environments.processes.protocol import receive

_NUMBER = struct.Struct("<q")
_NUM_FILES = 3
_END_TIMEOUT_S = 3.0


class ForkServer:
    """The parent's side.

    Args:
        job: What the processes shall do.
        timeout_s: Seconds within which the fork server has to answer.
    """

    def __init__(self, job: SlotJob, timeout_s: float) -> None:
        self._job = cloudpickle.dumps(job)
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def fork(self, row: int, connection: socket.socket, memory_file: int, stacks_file: int) -> int:
        """Starts a slot's process and returns its id.

        Args:
            row: The slot.
            connection: The process's end of a socket pair.
            memory_file: Descriptor of the shared memory.
            stacks_file: Descriptor of where stacks are dumped to.

        Raises:
            EnvironmentCrashedError: If the fork server cannot be started or does not answer.
        """
        files = [connection.fileno(), memory_file, stacks_file]
        for attempt in range(2):
            try:
                if self._connection is None:
                    self._start()
                assert self._connection is not None
                socket.send_fds(self._connection, [_NUMBER.pack(row)], files)
                return _NUMBER.unpack(receive(self._connection, _NUMBER.size))[0]
            except (OSError, EOFError) as error:
                self.close()
                if attempt:
                    raise EnvironmentCrashedError(
                        "the process that starts environments ended or did not answer within "
                        f"{self._timeout_s:g} s; its messages are above",
                        slot=row,
                    ) from error
        raise AssertionError

    def close(self) -> None:
        """Ends the fork server and every process that it forked; may be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            process, self._process = self._process, None
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_TIMEOUT_S)
            # It leads a process group of its own, in which is also what environments started.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {
                **os.environ,
                "CUDA_VISIBLE_DEVICES": "-1",
                # Threads of a BLAS would make forking unsafe, and there is one slot a process anyway.
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            }
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.environments.processes.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.settimeout(self._timeout_s)
        self._connection = ours
        ours.sendall(_NUMBER.pack(len(self._job)) + self._job)


def main(descriptor: int) -> None:
    """The fork server's side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Slots that end are not kept as zombies.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(fileno=descriptor)
    with suppress(EOFError, ConnectionError):
        (size,) = _NUMBER.unpack(receive(server, _NUMBER.size))
        job = cloudpickle.loads(receive(server, size))
        _import_entry_point(job)
        while True:
            message, files, _, _ = socket.recv_fds(server, _NUMBER.size, _NUM_FILES)
            if not message:
                break
            for file in files:
                # Programs that an environment starts shall not keep them open.
                os.set_inheritable(file, False)
            pid = os.fork()
            if pid == 0:
                server.close()
                _run_slot(job, _NUMBER.unpack(message)[0], *files)
            for file in files:
                os.close(file)
            server.sendall(_NUMBER.pack(pid))
    _end_slots()


def _end_slots() -> None:
    """Ends every slot, and then this process: in this order, so that someone is there to take note of their end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + _END_TIMEOUT_S / 2
    with suppress(ChildProcessError):
        while time.monotonic() < deadline:
            os.waitpid(-1, os.WNOHANG)
            time.sleep(0.01)
    os.killpg(0, signal.SIGKILL)


def _run_slot(job: SlotJob, row: int, connection: int, memory_file: int, stacks_file: int) -> None:
    status = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve_slot(job, row, socket.socket(fileno=connection), memory_file, stacks_file)
        status = 0
    except ConnectionError:
        pass
    finally:
        # Not through the interpreter's exit: what the fork server registered there is not this process's.
        os._exit(status)


def _import_entry_point(job: SlotJob) -> None:
    """Imports the environment's module once for all slots; whoever fails here says so in its slot."""
    target: Any = getattr(job.make, "target", None)
    if isinstance(target, gym.envs.registration.EnvSpec) and isinstance(target.entry_point, str):
        with suppress(Exception):
            importlib.import_module(target.entry_point.partition(":")[0])


if __name__ == "__main__":
    main(int(sys.argv[1]))
