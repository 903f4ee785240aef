"""The arguments of the commands on finished and running runs: report, plot, runs and watch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class ReportArguments:
    """Writes the report of a run, or of several on one page, from the files of their run directories.

    Runs that differ by their seed only are shown with their mean and its 95 % interval.
    """

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
    """Run directories, or folders that hold some."""
    out: Path | None = None
    """HTML file to write, with a PNG file beside it. Default: report.html in the run directory, or in the folder that
    holds all runs."""
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
