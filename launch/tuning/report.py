"""report_search: writes the page and the picture of a search anew."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from distpolicy.errors import ConfigError
from launch.output.writable import check_writable
from launch.reports.page_writer import check_page_file
from launch.tuning.found import read_search
from launch.tuning.importance import importances
from launch.tuning.picture import write_picture


def report_search(folder: Path, out: Path | None, console: Console) -> None:
    """Writes the page of a search, and a picture beside it.

    Args:
        folder: The folder of the search, which goes on, has ended, or was killed.
        out: The HTML file; None for ``search.html`` in the folder.
        console: Where to tell the names of the files.

    Raises:
        ConfigError: If there is no best trial yet, or the files cannot be written.
    """
    folder = folder.absolute()
    if out is not None:
        check_page_file(out)
    result, space = read_search(folder)
    page = out or result.page_file
    check_writable(page.parent)
    page.parent.mkdir(parents=True, exist_ok=True)
    picture = write_picture(result, space, importances(result, space), page)
    if picture is None:
        raise ConfigError(f"{folder} has nothing to report yet: {result.why_none_is_best}")
    console.print(f"report: {page}")
    console.print(f"picture: {picture}")
