"""``distpolicy submit``: runs a command on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from distpolicy.errors import ConfigError
from launch.cluster import authentication
from launch.commands.collect import parse_collect
from launch.commands.doctor import parse_doctor
from launch.commands.evaluate import parse_evaluate
from launch.commands.parsing import UsualOptions, known_options, parse
from launch.commands.train import parse_train
from launch.commands.tune import parse_tune
from launch.config.cluster import SubmitConfig
from launch.output.shown_paths import PathsConsole


@dataclass(frozen=True)
class SubmitArguments:
    """Runs a command on a cluster as a Ray job. Its output is shown here, and Ctrl-C stops it.

    The command (train, collect, evaluate or doctor) and its options follow after the cluster. Its paths are paths on
    the head node; relative ones begin at the home directory.
    """

    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CLUSTER")]
    """The cluster: its cluster file, the http address of its dashboard, HOST:PORT of its head, or auto."""
    config: Annotated[SubmitConfig, tyro.conf.arg(name="")] = field(default_factory=SubmitConfig)
    debug: bool = False
    """Show tracebacks."""


_USUAL: UsualOptions = {
    "": ("target",),
    "the job": ("config.working_dir", "config.no_wait", "config.stop_timeout_s"),
    "tracing": ("debug",),
}


# The commands that can be submitted, with the parsers that check their arguments.
_JOB_COMMANDS: dict[str, Callable[[list[str]], Any]] = {
    "train": parse_train,
    "tune": parse_tune,
    "collect": parse_collect,
    "evaluate": parse_evaluate,
    "doctor": parse_doctor,
}


def parse_submit(arguments: list[str]) -> tuple[SubmitArguments, list[str]]:
    """Parses ``distpolicy submit``.

    Returns:
        Its arguments, and the job's command line without the program.

    Raises:
        ConfigError: If a value is invalid, also in the job's command line.
        SystemExit: After help.
    """
    split = next((index for index, text in enumerate(arguments) if text in _JOB_COMMANDS), len(arguments))
    parsed = parse(SubmitArguments, arguments[:split], None, "submit", _USUAL)
    command = arguments[split:]
    if not command:
        raise ConfigError(f"submit needs a command after {parsed.target}: {', '.join(_JOB_COMMANDS)}")
    known = known_options(command[1:], "--resume", "--config")
    if known.resume is None and known.config is None:
        _JOB_COMMANDS[command[0]](command[1:])  # A run to resume is on the head node, and so are its settings.
    return parsed, command


def run_submit(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy submit``; returns the exit code."""
    parsed, command = parse_submit(arguments)
    authentication.use_token_if_there_is_one()
    from launch.cluster.submit import submit

    return submit(parsed.target, command, parsed.config, PathsConsole())
