"""``distpolicy report``, ``plot``, ``runs`` and ``watch``: what has become of runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.console import Console

from launch.commands.parsing import UsualOptions, parse
from launch.config.tune import holds_search
from launch.output.shown_paths import PathsConsole
from launch.reports.arguments import PlotArguments, ReportArguments, RunsArguments, WatchArguments

_Arguments = TypeVar("_Arguments")


@dataclass(frozen=True)
class ReportCommand(Generic[_Arguments]):
    """A command that reads run directories.

    Attributes:
        name: Its name.
        kind: The dataclass of its arguments.
        act: What it does.
        usual: The options of its short help.
    """

    name: str
    kind: type[_Arguments]
    act: Callable[[_Arguments, Console], None]
    usual: UsualOptions

    def parse(self, arguments: list[str]) -> _Arguments:
        """Parses the command's arguments.

        Raises:
            ConfigError: If a value is invalid.
            SystemExit: After help.
        """
        return parse(self.kind, arguments, None, self.name, self.usual)

    def run(self, arguments: list[str], start: float) -> int:
        """Runs the command; returns the exit code."""
        self.act(self.parse(arguments), PathsConsole())
        return 0


# Plotting libraries, and what reads runs, are for these commands alone.
def _report(arguments: ReportArguments, console: Console) -> None:
    if len(arguments.runs) == 1 and holds_search(arguments.runs[0]):
        from launch.tuning.report import report_search

        report_search(arguments.runs[0], arguments.out, console)
        return
    from launch.reports.commands import report

    report(arguments, console)


def _plot(arguments: PlotArguments, console: Console) -> None:
    from launch.reports.commands import plot

    plot(arguments, console)


def _list(arguments: RunsArguments, console: Console) -> None:
    from launch.reports.run_list import list_runs
    from launch.tuning.found import describe_search

    list_runs(arguments, console, describe_search)


def _watch(arguments: WatchArguments, console: Console) -> None:
    from launch.reports.watch import watch

    watch(arguments, console)


REPORT = ReportCommand("report", ReportArguments, _report, {"": ("runs",), "output": ("out",), "tracing": ("debug",)})
PLOT = ReportCommand(
    "plot",
    PlotArguments,
    _plot,
    {"": ("runs",), "what is compared": ("by",), "output": ("out",), "tracing": ("debug",)},
)
RUNS = ReportCommand("runs", RunsArguments, _list, {"": ("runs_folder",), "output": ("json",), "tracing": ("debug",)})
WATCH = ReportCommand(
    "watch", WatchArguments, _watch, {"": ("run",), "what is shown": ("every_s", "once"), "tracing": ("debug",)}
)
