"""How much memory a process has had."""

from __future__ import annotations

import resource


def peak_memory_bytes() -> int:
    """The most memory that this process has had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
