"""``distpolicy report``, ``plot``, ``runs`` and ``watch``: what has become of runs."""

from __future__ import annotations

from launch.commands.parsing import UsualOptions, parse
from launch.output.shown_paths import PathsConsole
from launch.reports.arguments import PlotArguments, ReportArguments, RunsArguments, WatchArguments

_USUAL_OF_REPORT: UsualOptions = {"": ("runs",), "output": ("out",), "tracing": ("debug",)}
_USUAL_OF_PLOT: UsualOptions = {"": ("runs",), "what is compared": ("by",), "output": ("out",), "tracing": ("debug",)}
_USUAL_OF_RUNS: UsualOptions = {"": ("runs_folder",), "output": ("json",), "tracing": ("debug",)}
_USUAL_OF_WATCH: UsualOptions = {"": ("run",), "what is shown": ("every_s", "once"), "tracing": ("debug",)}


def parse_report(arguments: list[str]) -> ReportArguments:
    """Parses ``distpolicy report``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return parse(ReportArguments, arguments, None, "report", _USUAL_OF_REPORT)


def run_report(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy report``; returns the exit code."""
    parsed = parse_report(arguments)
    from launch.reports.commands import report

    report(parsed, PathsConsole())
    return 0


def parse_plot(arguments: list[str]) -> PlotArguments:
    """Parses ``distpolicy plot``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return parse(PlotArguments, arguments, None, "plot", _USUAL_OF_PLOT)


def run_plot(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy plot``; returns the exit code."""
    parsed = parse_plot(arguments)
    from launch.reports.commands import plot

    plot(parsed, PathsConsole())
    return 0


def parse_runs(arguments: list[str]) -> RunsArguments:
    """Parses ``distpolicy runs``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return parse(RunsArguments, arguments, None, "runs", _USUAL_OF_RUNS)


def run_runs(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy runs``; returns the exit code."""
    parsed = parse_runs(arguments)
    from launch.reports.run_list import list_runs

    list_runs(parsed, PathsConsole())
    return 0


def parse_watch(arguments: list[str]) -> WatchArguments:
    """Parses ``distpolicy watch``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return parse(WatchArguments, arguments, None, "watch", _USUAL_OF_WATCH)


def run_watch(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy watch``; returns the exit code."""
    parsed = parse_watch(arguments)
    from launch.reports.watch import watch

    watch(parsed, PathsConsole())
    return 0
