"""The serve command: serves a policy until it is interrupted, and says where."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console

from launch.config.common import counted
from launch.config.serve import ServeConfig
from launch.serving.server import Endpoint, PolicyServer


def serve(source: Path, config: ServeConfig, console: Console, start: float, debug: bool) -> None:
    """Serves a policy until a signal ends it.

    Args:
        source: Run directory, or the folder of a SavedModel.
        config: The settings.
        console: Where to print.
        start: When the command was started, by ``time.time()``.
        debug: Whether to show Ray's log and the workers' output.

    Raises:
        ConfigError: If the input is invalid.
        DistPolicyError: If the policy cannot be served.
    """

    def warn(reason: str) -> None:
        print(f"distpolicy: warning: {reason}; the previous policy stays", file=sys.stderr)

    server = PolicyServer(source, config, debug, lambda what: console.print(f"{what} ..."))
    try:
        with server:
            _tell(server.endpoint, console, start)
            server.wait(lambda version: console.print(f"took version {version}"), warn)
    except KeyboardInterrupt:
        console.print(f"ended after {time.time() - start:.1f} s{_computed(server.num_actions)}")
        sys.stdout.flush()
        raise


def _tell(endpoint: Endpoint, console: Console, start: float) -> None:
    console.print(
        f"serving version {endpoint.version} by {'TensorFlow' if endpoint.note else 'LiteRT'} in "
        f"{counted(endpoint.num_replicas, 'replica')} after {time.time() - start:.1f} s"
    )
    if endpoint.note and not endpoint.note.startswith("--"):
        console.print(f"not by LiteRT: {endpoint.note}")
    password = "; the token is the password" if endpoint.needs_token else ""
    console.print(f"http: {endpoint.url}  (documentation: {endpoint.url}/docs{password})")
    if endpoint.grpc_port is not None:
        console.print(f"grpc: {endpoint.grpc_address}")
    if endpoint.metrics_urls:
        first, *others = endpoint.metrics_urls
        console.print(f"metrics: {first}" + (f", and at {counted(len(others), 'other node')}" if others else ""))
    console.print("Ctrl-C ends it")
    sys.stdout.flush()


def _computed(num_actions: int | None) -> str:
    return "" if num_actions is None else f": {num_actions:,} action{'' if num_actions == 1 else 's'} computed"
