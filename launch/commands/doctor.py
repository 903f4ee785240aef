"""``distpolicy doctor``: checks the nodes of a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from launch.cluster.authentication import use_token_at
from launch.commands.parsing import UsualOptions, parse
from launch.config.cluster import DoctorConfig
from launch.output.shown_paths import PathsConsole
from launch.process_end import EXIT_FAILURE


@dataclass(frozen=True)
class DoctorArguments:
    """Checks every node of a cluster and prints a line for each. The exit code is 0 if all checks passed, else 1."""

    config: Annotated[DoctorConfig, tyro.conf.arg(name="")] = field(default_factory=DoctorConfig)
    debug: bool = False
    """Show tracebacks and the workers' output."""


_USUAL: UsualOptions = {
    "what is checked": ("config.address", "config.nodes", "config.cpus", "config.gpus", "config.deadline_s"),
    "tracing": ("debug",),
}


def parse_doctor(arguments: list[str]) -> DoctorArguments:
    """Parses ``distpolicy doctor``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return parse(DoctorArguments, arguments, None, "doctor", _USUAL)


def run_doctor(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy doctor``; returns the exit code."""
    parsed = parse_doctor(arguments)
    use_token_at(parsed.config.address)
    from launch.cluster.doctor import examine
    from launch.signals import handled, interrupt

    with handled(interrupt):
        return 0 if examine(parsed.config, PathsConsole(), parsed.debug) else EXIT_FAILURE
