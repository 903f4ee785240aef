"""The submit command: runs another command as a job on a cluster."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from distpolicy.errors import ConfigError
from launch.cluster import authentication
from launch.cluster.dashboard_tunnel import dashboard_tunnel
from launch.cluster.ray_job import Job, connect
from launch.cluster.session import check_reachable
from launch.config.cluster import SubmitConfig

# These commands use Ray. As a job, they join the cluster that the job runs on.
_ON_RAY = ("train", "collect", "doctor")
_HTTP_PORTS = {"http": 80, "https": 443}


def submit(target: str, command: Sequence[str], config: SubmitConfig, console: Console) -> int:
    """Runs a command on a cluster.

    Args:
        target: The cluster: its cluster file, the http address of its dashboard, HOST:PORT of its head, or ``auto``.
        command: The command line without the program's name.
        config: How to submit the job.
        console: Console to print to.

    Returns:
        The job's exit code, or 0 if ``config.no_wait``.

    Raises:
        ConfigError: If there is no such cluster.
        DistPolicyError: If the job was not accepted or did not run.
    """
    with _dashboard(target, config) as address:
        job = Job(connect(address), entrypoint(command), _runtime_env(config), _name(command[0]))
        console.print(f"job {job.name} submitted to {target}")
        if not config.no_wait:
            return job.follow()
        for line in _next_commands(job, target, config.dashboard_port):
            console.print(line)
        return 0


def entrypoint(command: Sequence[str]) -> str:
    """Returns the shell command of a job.

    It runs in the home folder of the head, since Ray removes the folder that it would choose when the job ends.

    Args:
        command: The command line without the program's name.
    """
    name, *arguments = command
    is_complete = name not in _ON_RAY or any(text.split("=")[0] == "--address" for text in arguments)
    address = [] if is_complete else ["--address", "auto"]
    return f"cd && exec {shlex.join(['distpolicy', name, *arguments, *address])}"


def _name(command: str) -> str:
    return f"distpolicy-{command}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"


def _runtime_env(config: SubmitConfig) -> dict[str, Any]:
    variables = {"PYTHONUNBUFFERED": "1", "RAY_JOB_STOP_WAIT_TIME_S": str(config.stop_timeout_s)}
    folder = {} if config.working_dir is None else {"working_dir": str(config.working_dir)}
    return {"env_vars": variables, **folder}


def _is_cluster_file(target: str) -> bool:
    return target.endswith((".yaml", ".yml"))


@contextlib.contextmanager
def _dashboard(target: str, config: SubmitConfig) -> Iterator[str]:
    """Yields the address for the job client. Opens a tunnel if the target is a cluster file."""
    with contextlib.ExitStack() as stack:
        address = target
        if _is_cluster_file(target):
            tunnel = dashboard_tunnel(Path(target), config.dashboard_port, config.connect_timeout_s)
            address = stack.enter_context(tunnel)
        else:
            check_reachable(_host_and_port(target))
        # Ray prefers this variable, or RAY_ADDRESS, to the address that it is given.
        os.environ["RAY_API_SERVER_ADDRESS"] = address
        yield address


def _host_and_port(address: str) -> str:
    if "://" not in address:
        return address
    parts = urlsplit(address)
    if parts.scheme not in _HTTP_PORTS or not parts.hostname:
        raise ConfigError(f"{address} is not a dashboard's address: it must begin with http:// or https://")
    try:
        return f"{parts.hostname}:{parts.port or _HTTP_PORTS[parts.scheme]}"
    except ValueError as error:
        raise ConfigError(f"{address} is not a dashboard's address: {error}") from error


def _next_commands(job: Job, target: str, dashboard_port: int) -> Iterator[str]:
    """Yields Ray's commands that show and stop a job that was left."""
    address, mode = target, "RAY_AUTH_MODE=token " if authentication.is_on() else ""
    if _is_cluster_file(target):
        address = f"http://127.0.0.1:{dashboard_port}"
        yield f"ray dashboard {shlex.quote(target)} --port {dashboard_port} --remote-port {dashboard_port} &"
    for action in ("logs", "stop"):
        yield f"{mode}ray job {action} {job.name} --address {address}"
