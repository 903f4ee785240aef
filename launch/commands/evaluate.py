"""``distpolicy evaluate``: plays whole episodes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from launch.commands.parsing import UsualOptions, parse
from launch.config.evaluate import EvaluateConfig
from launch.option_values import absolute_path
from launch.output.shown_paths import PathsConsole


@dataclass(frozen=True)
class EvaluateArguments:
    """Plays whole episodes on fresh seeds. Shows mean return with its interval and lengths, and makes videos."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")]
    """Run directory, or the folder of a SavedModel with --env."""
    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = field(default_factory=EvaluateConfig)
    debug: bool = False
    """Show tracebacks."""


_USUAL: UsualOptions = {
    "": ("source",),
    "episodes": (
        "config.episodes",
        "config.stochastic",
        "config.num_envs",
        "config.seed",
        "config.video",
        "config.json",
    ),
    "environment": ("config.env", "config.env_kwargs", "config.wrappers", "config.inference"),
    "tracing": ("debug",),
}


def parse_evaluate(arguments: list[str]) -> EvaluateArguments:
    """Parses ``distpolicy evaluate``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    parsed = parse(EvaluateArguments, arguments, None, "evaluate", _USUAL)
    # A policy without a folder, such as random, keeps its name.
    source = absolute_path(parsed.source)
    return dataclasses.replace(parsed, source=str(source)) if source.exists() else parsed


def run_evaluate(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy evaluate``; returns the exit code."""
    parsed = parse_evaluate(arguments)
    from launch.child_processes import started_processes_ended
    from launch.evaluation import evaluate_apart
    from launch.signals import handled, interrupt

    with started_processes_ended(), handled(interrupt):
        evaluate_apart(Path(parsed.source), parsed.config, PathsConsole())
    return 0
