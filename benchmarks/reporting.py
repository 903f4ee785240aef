"""What every benchmark prints: where it ran, a table, and which goals are met."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path


def print_header(title: str, packages: Sequence[str]) -> None:
    """Prints the title, the date, the machine and the versions.

    Args:
        title: What is measured.
        packages: Distributions whose versions matter to it.
    """
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(title)
    print(f"date: {datetime.datetime.now():%Y-%m-%d %H:%M}")
    print(f"machine: {os.cpu_count()} cores, {_cpu_model()}, {platform.system()} {platform.release()}")
    print(f"versions: Python {platform.python_version()}, {versions}", flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a Markdown table, the first column aligned left and the others right."""
    widths = [max(len(row[place]) for row in [columns, *rows]) for place in range(len(columns))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    print()
    for row in [columns, rule, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def met(reached: bool) -> str:
    """How a table says whether a goal is reached."""
    return "met" if reached else "MISSED"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
