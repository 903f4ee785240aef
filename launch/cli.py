"""The command line: ``distpolicy train``, ``collect`` and ``evaluate``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import itertools
import os
import sys
import time
import traceback
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console

from distpolicy.errors import ConfigError, DistPolicyError
from launch import config as configuration
from launch.collect_config import CollectConfig
from launch.config import TrainConfig
from launch.evaluate_config import EvaluateConfig
from launch.run_directory import RunDirectory

_T = TypeVar("_T")

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2

USAGE = """\
usage: distpolicy COMMAND [OPTIONS]

  distpolicy train              trains a TensorFlow policy on Ray; without options it solves CartPole-v1
  distpolicy collect            runs a policy in many envs and keeps the data as Parquet
  distpolicy evaluate RUN       plays whole episodes of a run's policy, or of a SavedModel
  distpolicy COMMAND --help     all options
  distpolicy --version          the version
"""


@dataclass(frozen=True)
class TrainArguments:
    """Trains a policy by PPO and leaves a run directory: config, checkpoints, policy, metrics and report."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    preset: str | None = None
    """Settings to begin from: cartpole-ppo (the default for CartPole-v1) or ppo (the default for other envs)."""
    run_dir: Path | None = None
    """Run directory to make; runs/ENV-TIME by default."""
    resume: Path | None = None
    """Run directory to go on with, with its own settings where none are given."""
    debug: bool = False
    """Show tracebacks and the workers' output."""


@dataclass(frozen=True)
class CollectArguments:
    """Runs a policy in many envs on many collectors, and keeps the data as Parquet."""

    config: Annotated[CollectConfig, tyro.conf.arg(name="")]
    out: Path | None = None
    """Folder of a new dataset."""
    resume: Path | None = None
    """Dataset to go on with, after an end, Ctrl-C or a crash, or to add to by a larger --steps or --episodes."""
    debug: bool = False
    """Show tracebacks and the workers' output."""


@dataclass(frozen=True)
class EvaluateArguments:
    """Plays whole episodes on fresh seeds: mean return with its interval, lengths, and videos."""

    source: tyro.conf.Positional[Path]
    """Run directory, or the folder of a SavedModel with --env."""
    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = field(default_factory=EvaluateConfig)
    debug: bool = False
    """Show tracebacks."""


def main() -> None:
    """Runs the command and exits: 0 for success, 1 for a failure, 2 for bad input, 130 for Ctrl-C."""
    start = time.time()
    arguments = sys.argv[1:]
    if "--debug" not in arguments:
        # Gymnasium's environments complain in __del__ when their constructor has failed.
        sys.unraisablehook = lambda _: None
    try:
        code = run(arguments, start)
    except KeyboardInterrupt as interruption:
        code = getattr(interruption, "exit_code", 130)
    except DistPolicyError as error:
        if "--debug" in arguments:
            traceback.print_exc()
            original = getattr(error, "traceback", "")
            if original:
                print(f"In the worker:\n{original}", file=sys.stderr)
        print(f"distpolicy: error: {error}", file=sys.stderr)
        code = EXIT_BAD_INPUT if isinstance(error, ConfigError) else EXIT_FAILURE
    sys.exit(code)


def run(arguments: list[str], start: float) -> int:
    """Runs a command.

    Args:
        arguments: The command line, without the program.
        start: Clock time at which it began.

    Returns:
        The exit code.

    Raises:
        DistPolicyError: If it fails.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments else EXIT_BAD_INPUT
    if arguments[0] == "--version":
        print(f"distpolicy {version('distpolicy')}")
        return 0
    command = _COMMANDS.get(arguments[0])
    if command is None:
        raise ConfigError(f"unknown command {arguments[0]!r}; there are {', '.join(_COMMANDS)}")
    command(arguments[1:], start)
    return 0


def _train(arguments: list[str], start: float) -> None:
    parsed = parse_train(arguments)
    _prepare_ray(parsed.config.address)
    from launch.train import train  # Ray takes a second to import; help and bad input do not wait for it.

    train(parsed.config, Console(), start, parsed.run_dir, parsed.resume, parsed.debug)


def _collect(arguments: list[str], start: float) -> None:
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--resume", type=Path)
    base = CollectConfig()
    try:
        known, _ = first.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ConfigError(str(error)) from error
    if known.resume is not None:
        base = configuration.load_as(CollectConfig, known.resume / "config.yaml")
    parsed = _parse(CollectArguments, arguments, CollectArguments(config=base), "collect")
    if (parsed.out is None) == (parsed.resume is None):
        raise ConfigError("give either --out for a new dataset or --resume for one to go on with")
    _prepare_ray(parsed.config.address)
    from launch.collect import collect

    folder = parsed.out or parsed.resume
    assert folder is not None
    collect(parsed.config, Console(), start, folder, parsed.resume is not None, parsed.debug)


def _evaluate(arguments: list[str], start: float) -> None:
    parsed = _parse(EvaluateArguments, arguments, None, "evaluate")
    from launch.evaluate import evaluate

    evaluate(parsed.source, parsed.config, Console())


_COMMANDS = {"train": _train, "collect": _collect, "evaluate": _evaluate}


def _prepare_ray(address: str | None) -> None:
    if address is None:
        # Read when Ray is imported: a Ray that this run starts then listens on loopback alone, as Ray's own
        # default is on macOS and Windows.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def parse_train(arguments: list[str]) -> TrainArguments:
    """The arguments of ``distpolicy train``: a preset or a resumed run's config, and what the command line changes.

    Raises:
        ConfigError: For a value that cannot work.
        SystemExit: For an option that does not exist, and after help.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--preset")
    first.add_argument("--env", default=None)
    first.add_argument("--resume", type=Path)
    try:
        known, _ = first.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ConfigError(str(error)) from error
    if known.resume is not None:
        if known.preset is not None:
            raise ConfigError("--preset and --resume exclude each other: a resumed run has its own settings")
        base = configuration.load(RunDirectory.open(known.resume).config_file)
    else:
        name = known.preset or configuration.preset_for(known.env)
        base = configuration.load_preset(name)
        if known.env is not None:
            base = dataclasses.replace(base, env=known.env)
    defaults = TrainArguments(config=base)
    parsed = _parse(TrainArguments, arguments, defaults, "train")
    if parsed.resume is not None and parsed.run_dir is not None:
        raise ConfigError("--run-dir and --resume exclude each other: a resumed run stays in its directory")
    return parsed


def _parse(kind: type[_T], arguments: list[str], defaults: _T | None, command: str) -> _T:
    """What tyro makes of the arguments; its boxes of several lines become one."""
    output = io.StringIO()
    given: Any = {} if defaults is None else {"default": defaults}
    try:
        with contextlib.redirect_stderr(output):
            return tyro.cli(kind, args=arguments, prog=f"distpolicy {command}", **given)
    except SystemExit as end:
        if not end.code:
            raise
        lines = [line.strip("│ ") for line in output.getvalue().splitlines()[1:]]
        message = " ".join(itertools.takewhile(lambda line: not line.startswith(("─", "╰")), lines))
        raise ConfigError(f"{message} (distpolicy {command} --help lists the options)") from None
