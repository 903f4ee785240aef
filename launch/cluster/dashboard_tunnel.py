"""dashboard_tunnel: an ssh tunnel to a cluster's dashboard, which listens on the head's loopback only."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from distpolicy.errors import ConfigError, DistPolicyError

_POLL_S = 0.2
_END_TIMEOUT_S = 5.0


@contextlib.contextmanager
def dashboard_tunnel(cluster_file: Path, dashboard_port: int, timeout_s: float) -> Iterator[str]:
    """Opens a tunnel to a cluster's dashboard, and closes it at the end.

    Args:
        cluster_file: The cluster file of Ray's cluster launcher. It says how to log in to the head.
        dashboard_port: Port of the dashboard on the head.
        timeout_s: Seconds to wait for the head.

    Yields:
        The dashboard's http address on this machine.

    Raises:
        ConfigError: If the file does not exist.
        DistPolicyError: If the head cannot be reached.
    """
    if not cluster_file.is_file():
        raise ConfigError(f"there is no cluster file {cluster_file}")
    port = _free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "dashboard", str(cluster_file)]
    command += ["--port", str(port), "--remote-port", str(dashboard_port)]
    with tempfile.TemporaryFile() as output:
        # In a session of its own, since Ctrl-C must not close the tunnel: the job is stopped through it.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait_for(port, process, output, cluster_file, timeout_s)
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(
    port: int, process: subprocess.Popen[bytes], output: IO[bytes], cluster_file: Path, timeout_s: float
) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DistPolicyError(
                f"the head of {cluster_file} cannot be reached; is it up (ray up {cluster_file})? {_last_line(output)}"
            )
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), _POLL_S):
            return
        time.sleep(_POLL_S)
    raise DistPolicyError(
        f"the head of {cluster_file} did not answer within {timeout_s:g} s; raise --connect-timeout-s if it is slow: "
        f"{_last_line(output)}"
    )


def _last_line(output: IO[bytes]) -> str:
    """Returns the last line that the tunnel's process wrote."""
    output.seek(0)
    lines = [line.strip() for line in output.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
