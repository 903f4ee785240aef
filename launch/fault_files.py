"""What failed in a run or a collect job, in files beside what it leaves."""

from __future__ import annotations

from pathlib import Path

FAULTS = "faults"


def collector_name(index: int, epoch: int) -> str:
    """What the names of a collector's files begin with."""
    return f"epoch{epoch}-collector{index}"


def note_fault(out: Path, name: str, line: str, trace: str) -> Path | None:
    """Adds a failure to the file of a collector.

    Args:
        out: The folder of the dataset or of the run.
        name: Begins the names of the collector's files.
        line: What failed.
        trace: Traceback or stacks.

    Returns:
        The file; None if it cannot be written, which shall not end what goes on.
    """
    path = out / FAULTS / f"{name}.txt"
    try:
        path.parent.mkdir(exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{line}\n{trace.rstrip()}\n\n")
    except OSError:
        return None
    return path
