"""What several configs have in common: settings of the environment, and sharing out a number evenly."""

from __future__ import annotations

EnvValue = bool | int | float | str


def split_evenly(total: int, num_parts: int) -> list[int]:
    """Parts that differ by one at most and add up to the total; the first ones are the larger."""
    share, rest = divmod(total, num_parts)
    return [share + (part < rest) for part in range(num_parts)]
