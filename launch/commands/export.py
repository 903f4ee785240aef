"""``distpolicy export``: writes a policy as a program that runs without distpolicy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from distpolicy.errors import ConfigError
from launch.commands.parsing import UsualOptions, parse
from launch.config.serve import PolicyChoice
from launch.option_values import absolute_path
from launch.output.run_directory import saved_policy_folder
from launch.output.shown_paths import PathsConsole


@dataclass(frozen=True)
class ExportArguments:
    """Writes a policy as a program that runs without distpolicy, after a comparison with it on random observations."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PATH")]
    """Run directory, or the folder of a SavedModel."""
    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Folder to write: the program, and signature.json with the names, shapes and dtypes of its inputs and outputs."""
    to: Literal["tflite", "onnx", "saved_model"]
    """For LiteRT, for ONNX Runtime, or for TensorFlow alone and TensorFlow Serving."""
    policy: PolicyChoice = "newest"
    """Which of a run's policies: the newest, or the best of its evaluations."""
    stochastic: bool = False
    """Export the policy that draws its actions (collect_policy). It takes uniform numbers as an input."""
    batch_size: int | None = None
    """Number of rows. None: any, or 1 for tflite."""
    debug: bool = False
    """Show tracebacks."""

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size must be 1 or more, but is {self.batch_size}")


_USUAL: UsualOptions = {
    "": ("source", "folder"),
    "the policy": ("to", "policy", "stochastic", "batch_size"),
    "tracing": ("debug",),
}


def parse_export(arguments: list[str]) -> ExportArguments:
    """Parses ``distpolicy export``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    parsed = parse(ExportArguments, arguments, None, "export", _USUAL)
    source, folder = (Path(absolute_path(str(path))) for path in (parsed.source, parsed.folder))
    return dataclasses.replace(parsed, source=source, folder=folder)


def run_export(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy export``; returns the exit code."""
    parsed = parse_export(arguments)
    from launch.export import export_policy
    from launch.signals import handled, interrupt

    with handled(interrupt):
        policy = saved_policy_folder(parsed.source, parsed.stochastic, parsed.policy == "best")
        export_policy(policy, parsed.to, parsed.folder, parsed.batch_size, PathsConsole())
    return 0
