"""``distpolicy serve``: serves a policy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from launch.cluster.authentication import use_token_at
from launch.commands.parsing import UsualOptions, parse
from launch.config.serve import ServeConfig
from launch.option_values import absolute_path
from launch.output.shown_paths import PathsConsole


@dataclass(frozen=True)
class ServeArguments:
    """Serves a policy over HTTP and gRPC on Ray Serve, until Ctrl-C. Requests that come together are one batch."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PATH")]
    """Run directory, or the folder of a SavedModel."""
    config: Annotated[ServeConfig, tyro.conf.arg(name="")] = field(default_factory=ServeConfig)
    debug: bool = False
    """Show tracebacks and the workers' output."""


_USUAL: UsualOptions = {
    "": ("source",),
    "the policy": ("config.policy", "config.stochastic", "config.follow", "config.inference"),
    "where": ("config.host", "config.port", "config.grpc_port", "config.token_file"),
    "what runs": ("config.replicas", "config.gpus_per_replica", "config.max_batch", "config.address"),
    "state of recurrent policies": ("config.state", "config.max_sessions", "config.session_idle_s"),
    "tracing": ("debug",),
}


def parse_serve(arguments: list[str]) -> ServeArguments:
    """Parses ``distpolicy serve``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    parsed = parse(ServeArguments, arguments, None, "serve", _USUAL)
    return dataclasses.replace(parsed, source=Path(absolute_path(str(parsed.source))))


def run_serve(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy serve``; returns the exit code."""
    parsed = parse_serve(arguments)
    use_token_at(parsed.config.address)
    from launch.child_processes import started_processes_ended
    from launch.serving.command import serve
    from launch.signals import handled, interrupt

    with started_processes_ended(), handled(interrupt):
        serve(parsed.source, parsed.config, PathsConsole(), start, parsed.debug)
    return 0
