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
from pathlib import Path
from typing import TextIO

from distpolicy.errors import ConfigError, DistPolicyError, DistPolicyWarning
from launch import command_line as command_lines
from launch.cluster import authentication
from launch.output.run_directory import RunDirectory
from launch.output.seeds_folder import holds_seeds
from launch.output.shown_paths import OutputError, PathsConsole, shown_from
from launch.preset_list import list_envs, list_presets
from launch.process_end import end_without_threads
from launch.suggestions import did_you_mean

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2

USAGE = """\
usage: distpolicy COMMAND [OPTIONS]

  distpolicy train              trains a TensorFlow policy on Ray; without options it solves CartPole-v1
  distpolicy tune               searches for better settings of train
  distpolicy collect            runs a policy in many envs and keeps the data as Parquet
  distpolicy evaluate RUN       plays whole episodes of a run's policy, or of a SavedModel
  distpolicy report RUN...      writes the report of a run, or of several on one page
  distpolicy plot RUN... --by SETTING
                                compares groups of runs
  distpolicy runs [FOLDER]      lists the runs in a folder
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


def main() -> None:
    """Runs the command and exits: 0 for success, 1 for a failure, 2 for bad input, 130 for Ctrl-C."""
    start = time.time()
    _open_standard_streams()
    folder = _working_directory()
    # Last, so that nothing here hides an installed module: an environment may be in a file beside the command.
    if not {"", folder} & set(sys.path):
        sys.path.append(folder)
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


def _train(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_train(arguments)
    _use_token(parsed.config.address)
    from launch.cluster.child_processes import started_processes_ended

    if parsed.dry_run:
        from launch.cluster.dry_run import dry_run_training

        with started_processes_ended():
            return 0 if dry_run_training(parsed.config, PathsConsole()) else EXIT_FAILURE
    if parsed.seeds is not None or (parsed.resume is not None and holds_seeds(parsed.resume)):
        return _train_seeds(parsed)
    # Importing Ray takes a second, which help and bad input should not wait for.
    from launch.signals import handled, interrupt
    from launch.training.console import ConsoleObserver
    from launch.training.followers import make_followers
    from launch.training.run import TrainingRun

    console = PathsConsole()
    observers = [ConsoleObserver(console, start), *make_followers(parsed.tracking, console.print)]
    with (
        started_processes_ended(),
        handled(interrupt),
        TrainingRun(
            parsed.config,
            observers,
            parsed.run_dir,
            parsed.resume,
            debug=parsed.debug,
            serial=parsed.serial,
            preset=parsed.preset,
        ) as run,
        handled(interrupt),  # Again: Ray, which is there by now, has set its own handler of SIGTERM.
    ):
        console.print(run.describe())
        run.run()
    return 0


def _train_seeds(parsed: command_lines.TrainArguments) -> int:
    from launch.cluster.child_processes import started_processes_ended
    from launch.seed_runs import SeedRuns
    from launch.signals import handled, interrupt

    options = [name for name, on in (("--serial", parsed.serial), ("--debug", parsed.debug)) if on]
    options += parsed.tracking.options
    folder = parsed.resume or parsed.run_dir or RunDirectory.create(None, f"{parsed.config.env}-seeds").path
    config = None if parsed.resume is not None else parsed.config
    with started_processes_ended(), handled(interrupt):
        runs = SeedRuns(folder, config, parsed.seeds, parsed.seeds_at_once, PathsConsole(), options)
        return runs.run()


def _tune(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_tune(arguments)
    _use_token(parsed.config.address)
    from launch.cluster.child_processes import started_processes_ended
    from launch.signals import handled, interrupt
    from launch.tuning.console import ConsoleObserver
    from launch.tuning.run import TuningRun

    observer = ConsoleObserver(PathsConsole())
    with (
        started_processes_ended(),
        handled(interrupt),
        TuningRun(
            parsed.tune,
            parsed.config,
            parsed.out,
            parsed.resume,
            observer,
            tracking=parsed.tracking,
            serial=parsed.serial,
            debug=parsed.debug,
        ) as run,
        handled(interrupt),  # Again: Ray, which is there by now, has set its own handler of SIGTERM.
    ):
        try:
            run.run()
        except KeyboardInterrupt:
            observer.on_interrupt(run.folder)
            raise
    return 0


def _collect(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_collect(arguments)
    _use_token(parsed.config.address)
    from launch.cluster.child_processes import started_processes_ended

    if parsed.dry_run:
        from launch.cluster.dry_run import dry_run_collecting

        with started_processes_ended():
            return 0 if dry_run_collecting(parsed.config, PathsConsole()) else EXIT_FAILURE
    from launch.collection.console import ConsoleObserver
    from launch.collection.run import CollectionRun
    from launch.signals import handled, interrupt

    folder = parsed.out or parsed.resume
    assert folder is not None
    observer = ConsoleObserver(PathsConsole(), start)
    with (
        started_processes_ended(),
        handled(interrupt),
        CollectionRun(parsed.config, folder, [observer], parsed.resume is not None, debug=parsed.debug) as run,
        handled(interrupt),  # Again: Ray, which is there by now, has set its own handler of SIGTERM.
    ):
        run.run()
    return 0


def _evaluate(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_evaluate(arguments)
    from launch.cluster.child_processes import started_processes_ended
    from launch.evaluation import evaluate
    from launch.signals import handled, interrupt

    with started_processes_ended(), handled(interrupt):
        evaluate(Path(parsed.source), parsed.config, PathsConsole())
    return 0


def _report(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_report(arguments)
    from launch.reports.commands import report

    report(parsed, PathsConsole())
    return 0


def _plot(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_plot(arguments)
    from launch.reports.commands import plot

    plot(parsed, PathsConsole())
    return 0


def _runs(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_runs(arguments)
    from launch.reports.run_list import list_runs

    list_runs(parsed, PathsConsole())
    return 0


def _watch(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_watch(arguments)
    from launch.reports.watch import watch

    watch(parsed, PathsConsole())
    return 0


def _serve(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_serve(arguments)
    _use_token(parsed.config.address)
    from launch.cluster.child_processes import started_processes_ended
    from launch.serving.command import serve
    from launch.signals import handled, interrupt

    with started_processes_ended(), handled(interrupt):
        serve(parsed.source, parsed.config, PathsConsole(), start, parsed.debug)
    return 0


def _export(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_export(arguments)
    from launch.export import export_policy
    from launch.signals import handled, interrupt

    with handled(interrupt):
        export_policy(parsed, PathsConsole())
    return 0


def _submit(arguments: list[str], start: float) -> int:
    parsed, command = command_lines.parse_submit(arguments)
    authentication.use_token_if_there_is_one()
    from launch.cluster.submit import submit

    return submit(parsed.target, command, parsed.config, PathsConsole())


def _doctor(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_doctor(arguments)
    _use_token(parsed.config.address)
    from launch.cluster.doctor import examine
    from launch.signals import handled, interrupt

    with handled(interrupt):
        return 0 if examine(parsed.config, PathsConsole(), parsed.debug) else EXIT_FAILURE


def _presets(arguments: list[str], start: float) -> int:
    return _list("presets", arguments, list_presets)


def _envs(arguments: list[str], start: float) -> int:
    return _list("envs", arguments, list_envs)


def _completion(arguments: list[str], start: float) -> int:
    parsed = command_lines.parse_completion(arguments)
    # Importing Gymnasium's environments, to name them, is for this command alone.
    from launch.completion.scripts import completion_script

    print(completion_script(parsed.shell), end="")
    return 0


def _list(command: str, arguments: list[str], make: Callable[[], str]) -> int:
    if arguments and not {"-h", "--help", "--help-all"} & set(arguments):
        raise ConfigError(f"distpolicy {command} takes no options, but got {' '.join(arguments)}")
    print(make() if not arguments else f"usage: distpolicy {command}\n\n{make.__doc__}\n", end="")
    return 0


_COMMANDS = {
    "train": _train,
    "tune": _tune,
    "collect": _collect,
    "evaluate": _evaluate,
    "report": _report,
    "plot": _plot,
    "runs": _runs,
    "watch": _watch,
    "serve": _serve,
    "export": _export,
    "submit": _submit,
    "doctor": _doctor,
    "presets": _presets,
    "envs": _envs,
    "completion": _completion,
}


def _use_token(address: str | None) -> None:
    if address is not None:
        authentication.use_token_if_there_is_one()
