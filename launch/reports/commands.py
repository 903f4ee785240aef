"""The commands report and plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from distpolicy.errors import ConfigError
from launch.config.tune import holds_search
from launch.output.run_directory import RunDirectory, why_not_a_run
from launch.output.writable import check_writable
from launch.reports.arguments import PlotArguments, ReportArguments
from launch.reports.groups import Group, grouped
from launch.reports.page_writer import check_page_file, write_page
from launch.reports.picture import write_picture
from launch.reports.run_data import RunData, is_training_run, read_run


def report(arguments: ReportArguments, console: Console) -> None:
    """Writes the report of some runs.

    Raises:
        ConfigError: If a folder is not a run directory, or nothing can be written.
    """
    paths = run_paths(arguments.runs)
    out = arguments.out or _default_out(arguments.runs, paths)
    _write(out, grouped(read_runs(paths)), console, "report")


def plot(arguments: PlotArguments, console: Console) -> None:
    """Writes a comparison of groups of runs.

    Raises:
        ConfigError: If a folder is not a run directory, no run has the setting, or nothing can be written.
    """
    groups = grouped(read_runs(run_paths(arguments.runs)), arguments.by)
    by = f" by {arguments.by}" if arguments.by else ""
    title = f"{', '.join(dict.fromkeys(run.env for run in _all(groups)))}{by}"
    _write(arguments.out, groups, console, "comparison", title)


def run_paths(folders: Sequence[Path]) -> list[Path]:
    """Returns run directories: those that are given, and those that lie in folders that are not run directories.

    Raises:
        ConfigError: If a folder does not exist, or neither is a run directory nor holds any.
    """
    if not folders:
        raise ConfigError("give a run directory, or several")
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a run directory: {why_not_a_run(folder)}")
        if RunDirectory(folder).config_file.is_file():
            found[folder.resolve()] = None
            continue
        inside = [path for path in sorted(folder.iterdir()) if is_training_run(path)]
        if not inside:
            more = "" if holds_search(folder) else ", and no folder in it is one"
            raise ConfigError(f"{folder} is not a run directory: {why_not_a_run(folder)}{more}")
        found |= dict.fromkeys(path.resolve() for path in inside)
    return list(found)


def read_runs(paths: Sequence[Path]) -> list[RunData]:
    """Reads runs, and gives them names that differ."""
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}/{path.name}" for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return [read_run(path, name) for path, name in zip(paths, names, strict=True)]


def _default_out(given: Sequence[Path], paths: Sequence[Path]) -> Path:
    """Returns report.html in the run directory of a single run, or in the folder that holds several."""
    folder = paths[0] if len(paths) == 1 else paths[0].parent
    if any(path.parent != folder for path in paths) and len(paths) > 1:
        raise ConfigError("the runs lie in different folders: say by --out where the report goes")
    return RunDirectory(folder).report_file


def _write(out: Path, groups: Sequence[Group], console: Console, kind: str, title: str | None = None) -> None:
    check_page_file(out)
    check_writable(out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_page(out, groups, title)
    console.print(f"{kind}: {out}")
    picture = out.with_suffix(".png")
    if write_picture(picture, groups, title):
        console.print(f"picture: {picture}")


def _all(groups: Sequence[Group]) -> list[RunData]:
    return [run for group in groups for run in group.runs]
