"""The command lines of the commands, parsed."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from distpolicy.errors import ConfigError
from launch.config.cluster import DoctorConfig, SubmitConfig
from launch.config.codec import load_as
from launch.config.collect import CollectConfig
from launch.config.evaluate import EvaluateConfig
from launch.config.presets import load_preset, preset_for
from launch.config.train import TrainConfig, load_train_config
from launch.output.run_directory import RunDirectory

_T = TypeVar("_T")


@dataclass(frozen=True)
class TrainArguments:
    """Trains a policy by PPO and leaves a run directory: config, checkpoints, policy, metrics and report."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    preset: str | None = None
    """Settings to begin from: cartpole-ppo (the default for CartPole-v1), ppo (the default for other envs), or, for
    recurrent policies, stateless-cartpole-lstm, stateless-cartpole-gru, stateless-pendulum-lstm, repeat-previous-lstm,
    repeat-previous-far-lstm."""
    run_dir: Path | None = None
    """Run directory to make; runs/ENV-TIME by default."""
    resume: Path | None = None
    """Run directory to go on with, with its own settings where none are given."""
    dry_run: bool = False
    """Show which actors would run on which nodes, and start nothing."""
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
    dry_run: bool = False
    """Show which actors would run on which nodes, and start nothing."""
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


@dataclass(frozen=True)
class DoctorArguments:
    """Checks every node of a cluster, a line each; the exit code is 0 if nothing has failed, else 1."""

    config: Annotated[DoctorConfig, tyro.conf.arg(name="")] = field(default_factory=DoctorConfig)
    debug: bool = False
    """Show tracebacks and the workers' output."""


@dataclass(frozen=True)
class SubmitArguments:
    """Runs a command on a cluster as a Ray job; its output is shown here, and Ctrl-C stops it.

    After the cluster comes the command, train, collect, evaluate or doctor, with its own options. Its paths are those
    of the head, where relative ones begin at the home directory.
    """

    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CLUSTER")]
    """The cluster: its cluster file, the http address of its dashboard, HOST:PORT of its head, or auto."""
    config: Annotated[SubmitConfig, tyro.conf.arg(name="")] = field(default_factory=SubmitConfig)
    debug: bool = False
    """Show tracebacks."""


def parse_train(arguments: list[str]) -> TrainArguments:
    """The arguments of ``distpolicy train``: a preset or a resumed run's config, and what the command line changes.

    Raises:
        ConfigError: For a value that cannot work.
        SystemExit: After help.
    """
    arguments = _with_range(arguments)
    known = _known(arguments, "--preset", "--env", "--resume")
    if known.resume is not None:
        if known.preset is not None:
            raise ConfigError("--preset and --resume exclude each other: a resumed run has its own settings")
        base = load_train_config(RunDirectory.open(Path(known.resume)).config_file)
    else:
        name = known.preset or preset_for(known.env)
        base = load_preset(name)
        if known.env is not None:
            base = dataclasses.replace(base, env=known.env)
    parsed = _parse(TrainArguments, arguments, TrainArguments(config=base), "train")
    if parsed.resume is not None and parsed.run_dir is not None:
        raise ConfigError("--run-dir and --resume exclude each other: a resumed run stays in its directory")
    return parsed


def parse_collect(arguments: list[str]) -> CollectArguments:
    """The arguments of ``distpolicy collect``: the defaults or a dataset's config, and what the command line changes.

    Raises:
        ConfigError: For a value that cannot work.
        SystemExit: After help.
    """
    known = _known(arguments, "--resume")
    base = CollectConfig()
    if known.resume is not None:
        base = load_as(CollectConfig, Path(known.resume) / "config.yaml")
    parsed = _parse(CollectArguments, arguments, CollectArguments(config=base), "collect")
    if (parsed.out is None) == (parsed.resume is None):
        raise ConfigError("give either --out for a new dataset or --resume for one to go on with")
    return parsed


def parse_evaluate(arguments: list[str]) -> EvaluateArguments:
    """The arguments of ``distpolicy evaluate``.

    Raises:
        ConfigError: For a value that cannot work.
        SystemExit: After help.
    """
    return _parse(EvaluateArguments, arguments, None, "evaluate")


def parse_doctor(arguments: list[str]) -> DoctorArguments:
    """The arguments of ``distpolicy doctor``.

    Raises:
        ConfigError: For a value that cannot work.
        SystemExit: After help.
    """
    return _parse(DoctorArguments, arguments, None, "doctor")


# The commands that may be submitted, and what their command lines have to pass.
_JOB_COMMANDS: dict[str, Callable[[list[str]], Any]] = {
    "train": parse_train,
    "collect": parse_collect,
    "evaluate": parse_evaluate,
    "doctor": parse_doctor,
}


def parse_submit(arguments: list[str]) -> tuple[SubmitArguments, list[str]]:
    """The arguments of ``distpolicy submit``.

    Returns:
        Its own, and the command line of the job without the program.

    Raises:
        ConfigError: For a value that cannot work, the job's own among them.
        SystemExit: After help.
    """
    split = next((index for index, text in enumerate(arguments) if text in _JOB_COMMANDS), len(arguments))
    parsed = _parse(SubmitArguments, arguments[:split], None, "submit")
    command = arguments[split:]
    if not command:
        raise ConfigError(f"submit needs a command after {parsed.target}: {', '.join(_JOB_COMMANDS)}")
    if _known(command[1:], "--resume").resume is None:
        _JOB_COMMANDS[command[0]](command[1:])  # What is resumed is on the head, and its settings with it.
    return parsed, command


def _with_range(arguments: list[str]) -> list[str]:
    """``--collectors MIN:MAX`` as the two options that it stands for."""
    found: list[str] = []
    for text in itertools.chain.from_iterable(
        text.split("=", 1) if text.startswith("--collectors=") else [text] for text in arguments
    ):
        least, colon, most = text.partition(":")
        if colon and found and found[-1] == "--collectors":
            found += [most, "--min-collectors", least]
        else:
            found.append(text)
    return found


def _known(arguments: list[str], *options: str) -> argparse.Namespace:
    """The values of some options, before all are parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in options:
        parser.add_argument(option)
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise ConfigError(str(error)) from error


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
