"""ForkServer: a small process that forks the processes of environments.

A collector has TensorFlow's threads and cannot fork safely, and starting an interpreter for every environment takes
half a second each. The fork server has one thread, imports what environments need, and does nothing else. When its
connection closes, by :meth:`ForkServer.close` or because its parent ends, it ends and so do all processes that it
forked.
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
from distpolicy.utils.waiting_sockets import inherited_socket, socket_pair
from workers.environments.processes.env_process import EnvProcessJob, die_with_parent, serve_environment
from workers.environments.processes.protocol import receive

_NUMBER = struct.Struct("<q")
_NUM_FILES = 3
_FORKED = b"F"
_END_TIMEOUT_S = 3.0


class ForkServer:
    """Starts the fork server and asks it for processes: the parent's side.

    Args:
        job: What all processes of the batch have in common.
        timeout_s: Seconds within which the fork server has to answer.
    """

    def __init__(self, job: EnvProcessJob, timeout_s: float) -> None:
        self._job = cloudpickle.dumps(job)
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def fork(self, row: int, connection: socket.socket, memory_file: int, stacks_file: int) -> int | None:
        """Starts the process of an environment.

        Args:
            row: The env slot.
            connection: The process's end of a socket pair.
            memory_file: File descriptor of the shared memory.
            stacks_file: File descriptor that stacks are dumped to.

        Returns:
            The process as a file descriptor (a pidfd), which never stands for another process, as its id may. None if
            it has ended already.

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
                message, process, _, _ = socket.recv_fds(self._connection, 1, 1)
                if not message:
                    raise EOFError
                return process[0] if process else None
            except (OSError, EOFError) as error:
                self.close()
                if attempt:
                    raise EnvironmentCrashedError(
                        f"the fork server of async environments ended or did not answer within {self._timeout_s:g} s; "
                        "see its messages above, or use --vectorization sync",
                        slot=row,
                    ) from error
        raise AssertionError

    def close(self) -> None:
        """Ends the fork server and every process that it forked. It may be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            process, self._process = self._process, None
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_TIMEOUT_S)
            # The fork server leads a process group, which includes the programs that environments started.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self) -> None:
        ours, theirs = socket_pair()
        with theirs:
            environment = {
                **os.environ,
                "CUDA_VISIBLE_DEVICES": "-1",
                # Threads of a BLAS would make forking unsafe, and a process with one environment needs one thread.
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            }
            self._process = subprocess.Popen(
                # -P: the path above has all folders in their order.
                [sys.executable, "-P", "-m", "workers.environments.processes.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.settimeout(self._timeout_s)
        self._connection = ours
        ours.sendall(_NUMBER.pack(len(self._job)) + self._job)


def main(descriptor: int) -> None:
    """Runs the fork server until its connection closes.

    Args:
        descriptor: File descriptor of the connection to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So processes that end do not become zombies.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = inherited_socket(descriptor)
    with suppress(EOFError, ConnectionError):
        (size,) = _NUMBER.unpack(receive(server, _NUMBER.size))
        job = cloudpickle.loads(receive(server, size))
        _import_entry_point(job)
        while True:
            message, files, _, _ = socket.recv_fds(server, _NUMBER.size, _NUM_FILES)
            if not message:
                break
            for file in files:
                # Programs that an environment starts must not keep these files open.
                os.set_inheritable(file, False)
            pid = os.fork()
            if pid == 0:
                server.close()
                _run_process(job, _NUMBER.unpack(message)[0], *files)
            for file in files:
                os.close(file)
            _send_process(server, pid)
    _end_group()


def _send_process(server: socket.socket, pid: int) -> None:
    """Sends a process that was just forked to the parent, as a file descriptor.

    Linux before 5.3 has none. There, a process that hangs is left until the fork server ends.
    """
    try:
        process = os.pidfd_open(pid)
    except (OSError, AttributeError):
        server.sendall(_FORKED)
        return
    socket.send_fds(server, [_FORKED], [process])
    os.close(process)


def _end_group() -> None:
    """Ends all processes of the group, and this one last, so that it can wait for the others."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + _END_TIMEOUT_S / 2
    with suppress(ChildProcessError):
        while time.monotonic() < deadline:
            os.waitpid(-1, os.WNOHANG)
            time.sleep(0.01)
    os.killpg(0, signal.SIGKILL)


def _run_process(job: EnvProcessJob, row: int, connection: int, memory_file: int, stacks_file: int) -> None:
    status = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve_environment(job, row, inherited_socket(connection), memory_file, stacks_file)
        status = 0
    except ConnectionError:
        pass
    finally:
        # Skips the interpreter's exit handlers: they belong to the fork server, not to this process.
        os._exit(status)


def _import_entry_point(job: EnvProcessJob) -> None:
    """Imports the environment's module once for all processes. A failure is reported when a process makes its env."""
    target: Any = getattr(job.make, "target", None)
    if isinstance(target, gym.envs.registration.EnvSpec) and isinstance(target.entry_point, str):
        with suppress(Exception):
            importlib.import_module(target.entry_point.partition(":")[0])


if __name__ == "__main__":
    main(int(sys.argv[1]))
