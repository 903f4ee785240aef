"""Parts that several configs use: the type of environment arguments, and functions of counts."""

from __future__ import annotations

from typing import Any

# What JSON can hold: an argument of an environment.
EnvValue = bool | int | float | str | list[Any] | dict[str, Any] | None


def counted(number: int, what: str) -> str:
    """Returns ``1 collector`` or ``2 collectors``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def split_evenly(total: int, num_parts: int) -> list[int]:
    """Returns parts that add up to the total and differ by one at most; the first ones are larger."""
    share, rest = divmod(total, num_parts)
    return [share + (part < rest) for part in range(num_parts)]
