"""check_memory: refuses a replay buffer that does not fit into the machine's memory."""

from __future__ import annotations

from distpolicy.errors import ConfigError
from workers.available_memory import available_memory_bytes

_GIBIBYTE = 2**30
# The part of the available memory that a suggested capacity takes.
_SUGGESTED = 0.8


def check_memory(rows_bytes: int, other_bytes: int, capacity: int, freed_bytes: int = 0) -> None:
    """Checks that a replay buffer fits.

    Args:
        rows_bytes: Bytes of all rows.
        other_bytes: Bytes that do not depend on the number of rows.
        capacity: Number of rows.
        freed_bytes: Bytes that are taken now, and will be free when the buffer is.

    Raises:
        ConfigError: If the buffer is larger than the memory that is available; says which capacity fits.
    """
    available = available_memory_bytes() + freed_bytes
    if rows_bytes + other_bytes <= available:
        return
    fitting = int(capacity * max(0.0, _SUGGESTED * available - other_bytes) / rows_bytes)
    advice = (
        f"set replay_capacity to {fitting} or less"
        if fitting
        else "set batch_size or updates_per_call to a lower value"
    )
    raise ConfigError(
        f"a replay buffer of {capacity} steps takes {(rows_bytes + other_bytes) / _GIBIBYTE:.1f} GiB, but "
        f"{available / _GIBIBYTE:.1f} GiB of memory are available: {advice}"
    )
