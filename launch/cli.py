"""The command line: ``distpolicy train``, ``tune``, ``collect``, ``evaluate``, ``report`` and the others."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import TextIO

from distpolicy.errors import ConfigError, DistPolicyError, DistPolicyWarning
from distpolicy.utils.named_code import FOLDER_VARIABLE
from distpolicy.utils.suggestions import did_you_mean
from launch.commands.collect import run_collect
from launch.commands.doctor import run_doctor
from launch.commands.evaluate import run_evaluate
from launch.commands.export import run_export
from launch.commands.lists import run_envs, run_presets
from launch.commands.reports import PLOT, REPORT, RUNS, WATCH
from launch.commands.serve import run_serve
from launch.commands.submit import run_submit
from launch.commands.train import run_train
from launch.commands.tune import run_tune
from launch.completion.command import run_completion
from launch.output.shown_paths import OutputError, shown_from
from launch.process_end import EXIT_BAD_INPUT, EXIT_FAILURE, end_without_threads

USAGE = """\
usage: distpolicy COMMAND [OPTIONS]

  distpolicy train              trains a TensorFlow policy on Ray; without options it solves CartPole-v1
  distpolicy tune               searches for better settings of train
  distpolicy collect            runs a policy in many envs and keeps the data as Parquet
  distpolicy evaluate RUN       plays whole episodes of a run's policy, or of a SavedModel
  distpolicy report RUN...      writes the report of a run, or of several on one page
  distpolicy plot RUN... --by SETTING
                                compares groups of runs
  distpolicy runs [FOLDER]      lists the runs and the searches in a folder
  distpolicy watch RUN          shows a run live in this terminal
  distpolicy serve RUN          serves a run's policy, or a SavedModel, over HTTP and gRPC
  distpolicy export RUN OUT     writes a policy for LiteRT, ONNX Runtime or TensorFlow alone
  distpolicy submit CLUSTER COMMAND [OPTIONS]
                                runs a command on a cluster: its cluster.yaml, or its address
  distpolicy doctor             checks the nodes of a cluster, or of this machine
  distpolicy presets            lists the presets that train can begin from, with targets and times
  distpolicy envs               lists the envs that have presets
  distpolicy completion SHELL   prints a script that completes commands and options in bash, zsh or fish
  distpolicy COMMAND --help     all options
  distpolicy --version          the version
"""


# What runs each command, given its arguments and the clock time at which it began. It returns the exit code.
_COMMANDS: dict[str, Callable[[list[str], float], int]] = {
    "train": run_train,
    "tune": run_tune,
    "collect": run_collect,
    "evaluate": run_evaluate,
    "report": REPORT.run,
    "plot": PLOT.run,
    "runs": RUNS.run,
    "watch": WATCH.run,
    "serve": run_serve,
    "export": run_export,
    "submit": run_submit,
    "doctor": run_doctor,
    "presets": run_presets,
    "envs": run_envs,
    "completion": run_completion,
}


def main() -> None:
    """Runs the command and exits: 0 for success, 1 for a failure, 2 for bad input, 130 for Ctrl-C."""
    start = time.time()
    _open_standard_streams()
    folder = _working_directory()
    # An environment may be in a file beside the command.
    os.environ[FOLDER_VARIABLE] = folder
    arguments = sys.argv[1:]
    if "--debug" not in arguments:
        # Gymnasium's environments print errors in __del__ if their constructor has failed.
        sys.unraisablehook = lambda _: None
    _show_warnings_in_one_line()
    try:
        code = _run_and_flush(arguments, start)
    except KeyboardInterrupt as interruption:
        code = getattr(interruption, "exit_code", 130)
    except BrokenPipeError:
        # The reader of the output has ended, as with `| head`.
        _forget_output()
        code = EXIT_FAILURE
    except DistPolicyError as error:
        if isinstance(error, OutputError):
            _forget_output()
        if "--debug" in arguments:
            traceback.print_exc()
            original = getattr(error, "traceback", "")
            if original:
                print(f"In the worker:\n{original}", file=sys.stderr)
        print(f"distpolicy: error: {shown_from(folder, str(error))}", file=sys.stderr)
        code = EXIT_BAD_INPUT if isinstance(error, ConfigError) else EXIT_FAILURE
    end_without_threads(code)
    sys.exit(code)


def _run_and_flush(arguments: list[str], start: float) -> int:
    try:
        code = run(arguments, start)
        sys.stdout.flush()
        return code
    except OSError as error:
        # Errors of files have the file's name.
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise OutputError(error) from error
        raise


def _open_standard_streams() -> None:
    """Opens what the command was started without, and lets output be in any encoding.

    Without this, the next file that is opened would be the standard output. What an encoding such as ASCII lacks is
    spelt out.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # The lowest number that is free, which is the stream's own.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Lets the rest of the output go nowhere: Python would print an error when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        print(f"distpolicy: error: the working directory is gone: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


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
    if arguments[0].startswith("-"):
        raise ConfigError(
            f"give a command before {arguments[0]}, such as distpolicy train {arguments[0]}; there are "
            f"{', '.join(_COMMANDS)}"
        )
    command = _COMMANDS.get(arguments[0])
    if command is None:
        meant = did_you_mean(arguments[0], _COMMANDS)
        raise ConfigError(f"unknown command {arguments[0]!r}; there are {', '.join(_COMMANDS)}{meant}")
    return command(arguments[1:], start)


def _show_warnings_in_one_line() -> None:
    """Lets Python show this project's warnings without the line of code that they come from."""
    show_others = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, DistPolicyWarning):
            print(f"distpolicy: warning: {shown_from(os.sep, str(message))}", file=sys.stderr)
        else:
            show_others(message, category, filename, lineno, file, line)

    warnings.showwarning = show
