"""Sharing out a number of things evenly."""

from __future__ import annotations


def shares(total: int, num_parts: int) -> list[int]:
    """Parts that differ by one at most and add up to the total; the first ones are the larger."""
    share, rest = divmod(total, num_parts)
    return [share + (part < rest) for part in range(num_parts)]
