"""What a process has cost so far, from /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path


def peak_mib(pid: int) -> float:
    """The peak memory of a process."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def cpu_s(pid: int) -> float:
    """The CPU time of a process; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
