"""Memory use of this process."""

from __future__ import annotations

import resource


def peak_memory_bytes() -> int:
    """Returns the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
