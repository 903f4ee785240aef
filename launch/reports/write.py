"""Writes a run's report in a process of its own, as ``python -m launch.reports.write``.

It is not a command for users, who have ``distpolicy report``. The run starts it, so that charts take neither its time
nor its memory.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from distpolicy.errors import DistPolicyError
from launch.output.run_directory import RunDirectory
from launch.reports.groups import grouped
from launch.reports.page_writer import write_page
from launch.reports.picture import write_picture
from launch.reports.run_data import read_run

IDLE, WITH_PICTURE = "--idle", "--picture"


def main(arguments: list[str]) -> int:
    """Writes ``report.html``, and with ``--picture`` also ``report.png``; with ``--idle`` only when CPUs are free."""
    path = Path(arguments[0])
    if IDLE in arguments:
        _become_idle()
    directory = RunDirectory(path)
    try:
        groups = grouped([read_run(path)])
        write_page(directory.report_file, groups)
        # The run need not wait for the picture.
        print("page", flush=True)
        if WITH_PICTURE in arguments:
            write_picture(directory.picture_file, groups)
    except DistPolicyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _become_idle() -> None:
    with contextlib.suppress(OSError):
        os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
