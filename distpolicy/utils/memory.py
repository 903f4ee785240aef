"""Memory of this process and of its machine."""

from __future__ import annotations

import re
import resource
from pathlib import Path


def peak_memory_bytes() -> int:
    """Returns the peak resident memory of this process.

    Linux tells it in ``/proc``. What ``getrusage`` tells includes the process that this one was forked from.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if found is None else int(found[1])
    return kibibytes * 1024


def available_memory_bytes() -> int | None:
    """Returns the memory that this process can still take without swapping, within the limits of its control group.

    None if the system does not tell.
    """
    found = [value for value in (_of_machine(), _of_control_group()) if value is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    text = _read(Path("/proc/meminfo"))
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def _of_control_group() -> int | None:
    folder = Path("/sys/fs/cgroup")
    limit, used = _read(folder / "memory.max").strip(), _read(folder / "memory.current").strip()
    # Without a limit it says "max".
    return max(int(limit) - int(used), 0) if limit.isdigit() and used.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
