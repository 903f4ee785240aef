"""A Ray head with a dashboard, jobs and token authentication, as `ray start` makes one; on loopback and free ports."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RAY = Path(sys.executable).parent / "ray"


@dataclass(frozen=True)
class RayHead:
    address: str
    dashboard: str
    token: str
    home: Path
    temporary: Path

    def environment(self, **more: str) -> dict[str, str]:
        """For a command that is to find the head and its token."""
        chosen = {"HOME": str(self.home), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "CUDA_VISIBLE_DEVICES": "-1"}
        return {**chosen, **more}


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


@contextlib.contextmanager
def ray_head(folder: Path, *options: str) -> Iterator[RayHead]:
    """Starts a head and ends it, with all its processes and no others.

    Args:
        folder: For its home and log.
        options: More options of `ray start`.
    """
    port, dashboard_port, agent_port = free_ports(3)
    # Short: the names of Ray's sockets are limited.
    temporary = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    head = RayHead(
        f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard_port}", secrets.token_hex(32), folder / "home", temporary
    )
    (head.home / ".ray").mkdir(parents=True)
    (head.home / ".ray" / "auth_token").write_text(head.token)
    mark = f"DISTPOLICY_HEAD={uuid.uuid4()}"
    name, _, value = mark.partition("=")
    environment = {**os.environ, **head.environment(), name: value, "RAY_AUTH_MODE": "token"}
    environment |= {"RAY_TMPDIR": str(temporary), "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": ""}
    environment["PATH"] = os.pathsep.join([str(RAY.parent), environment.get("PATH", "")])
    log = folder / "head.log"
    command = [str(RAY), "start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--port", str(port)]
    command += ["--include-dashboard", "true", "--dashboard-host", "127.0.0.1"]
    command += ["--dashboard-port", str(dashboard_port), "--dashboard-agent-listen-port", str(agent_port), *options]
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield head
    finally:
        process.terminate()
        process.wait()
        _kill_marked(mark)
        shutil.rmtree(temporary, ignore_errors=True)


def _kill_marked(mark: str) -> None:
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
