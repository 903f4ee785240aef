"""Numbers, times and names as text for pages and tables."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from launch.output.formatting import show_return


def count(value: float | None) -> str:
    """Returns a whole number with commas; ``-`` for None and NaN."""
    return "-" if value is None or not math.isfinite(value) else f"{value:,.0f}"


def returned(value: float | None) -> str:
    """Returns a return as text; ``-`` for None and NaN."""
    return "-" if value is None or not math.isfinite(value) else show_return(value).replace("-", "−")


def with_interval(mean: float, half: float) -> str:
    """Returns a mean with half the width of its 95 % interval."""
    return returned(mean) if not math.isfinite(half) else f"{returned(mean)} ± {show_return(half, abs(mean))}"


def lasted(seconds: float | None) -> str:
    """Returns a duration in words that are easy to read: ``4.8 s``, ``12 min 30 s``, ``3 h 05 min``."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def moment(clock_s: float | None, zone: bool = True) -> str:
    """Returns a clock time as date and time of this machine's time zone; ``-`` for None.

    Args:
        clock_s: The clock time.
        zone: Whether to add the zone's name.
    """
    if clock_s is None:
        return "-"
    form = "%Y-%m-%d %H:%M %Z" if zone else "%Y-%m-%d %H:%M"
    return f"{datetime.datetime.fromtimestamp(clock_s).astimezone():{form}}"


def machine(start: Mapping[str, Any]) -> str:
    """Describes the machine, or the cluster, on which a run was started."""
    found = start.get("machine") or {}
    parts = [f"{found['cpus']} CPUs" if "cpus" in found else "", str(found.get("processor", ""))]
    if "memory_bytes" in found:
        parts.append(f"{found['memory_bytes'] / 2**30:.0f} GiB")
    parts.append(str(found.get("system", "")))
    cluster = start.get("cluster") or {}
    if cluster.get("nodes", 1) > 1 or cluster.get("gpus"):
        told = f"Ray: {count(cluster.get('nodes'))} nodes, {count(cluster.get('cpus'))} CPUs"
        parts.append(f"{told}, {count(cluster['gpus'])} GPUs" if cluster.get("gpus") else told)
    return " · ".join(part for part in parts if part)
