"""Memory of this process."""

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
