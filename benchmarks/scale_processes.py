"""CPU seconds and memory of this process and of Ray's, from Linux' /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """What a process has used.

    Attributes:
        cpu_s: CPU seconds of all its threads so far.
        memory_bytes: Resident memory.
    """

    cpu_s: float
    memory_bytes: int


def usage(pid: int) -> Process:
    """What a process has used."""
    fields = _stat(pid)
    return Process((int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND, int(fields[21]) * _PAGE_BYTES)


def child(name: str) -> int:
    """The id of this process's child whose program has a name."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and int(_stat(int(folder.name))[1]) == os.getpid():
                program = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
                if program.rpartition("/")[2] == name:
                    return int(folder.name)
        except OSError:
            continue  # it has ended meanwhile
    raise RuntimeError(f"this process has no child {name}")


def free_bytes() -> int:
    """Memory that can still be had without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat that come after the program's name, which may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
