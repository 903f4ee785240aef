"""The arguments of the commands on finished and running runs: report, plot, runs and watch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class ReportArguments:
    """Writes the report of a run, or of several on one page, from the files of their run directories.

    Runs that differ by their seed only are shown with their mean and its 95 % interval. The folder of a search gets its
    page anew.
    """

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Run directories, or folders that hold some; or the folder of one search."""
    out: Path | None = None
    """HTML file to write, with a PNG file beside it. Default: report.html in the run directory, or in the folder that
    holds all runs; search.html in the folder of a search."""
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class PlotArguments:
    """Compares groups of runs on a page and in a picture: the mean of each group with its 95 % interval."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Run directories, or folders that hold some."""
    by: str | None = None
    """Setting that the runs of a group have in common: agent, env, seed, or any other of config.yaml, such as
    collectors or ppo.learning-rate. None: all settings except the seed."""
    out: Path = Path("plot.html")
    """HTML file to write, with a PNG file beside it."""
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class RunsArguments:
    """Lists the runs in a folder, the newest first: env, agent, steps, return, state and times. Below them, searches
    and their best scores."""

    runs_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """Folder that holds run directories and searches, or folders with some; or the folder of a search."""
    json: bool = False
    """Print JSON, for programs."""
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class WatchArguments:
    """Shows a run live in this terminal: learning curve, key numbers, speed and faults. Ends when the run ends."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run directory. It need not exist yet."""
    every_s: Annotated[float, tyro.conf.arg(name="every")] = 1.0
    """Seconds between two looks at the files."""
    once: bool = False
    """Show one picture, and end."""
    debug: bool = False
    """Show tracebacks."""
