"""Parts that several configs use: the type of environment arguments, functions of counts, and the server's settings."""

from __future__ import annotations

import math
from typing import Any

from distpolicy.errors import ConfigError

# Default of both kinds of jobs.
SERVER_WINDOW_MS = 2.0

# What JSON can hold: an argument of an environment.
EnvValue = bool | int | float | str | list[Any] | dict[str, Any] | None


def counted(number: int, what: str) -> str:
    """Returns ``1 collector`` or ``2 collectors``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def split_evenly(total: int, num_parts: int) -> list[int]:
    """Returns parts that add up to the total and differ by one at most; the first ones are larger."""
    share, rest = divmod(total, num_parts)
    return [share + (part < rest) for part in range(num_parts)]


def check_server(has_server: bool, server_window_ms: float, server_gpus: float) -> None:
    """Checks the settings of an inference server.

    Args:
        has_server: Whether there is one.
        server_window_ms: Milliseconds that it waits for more collectors.
        server_gpus: Number of its GPUs.

    Raises:
        ConfigError: If a setting is out of its range, or there is no server to use it.
    """
    given = {"server_window_ms": (server_window_ms, SERVER_WINDOW_MS), "server_gpus": (server_gpus, 0.0)}
    for name, (value, default) in given.items():
        if not 0.0 <= value < math.inf:
            raise ConfigError(f"{name} must be a number of 0 or more, but is {value:g}")
        if value != default and not has_server:
            raise ConfigError(f"{name} is for inference server: set that, or leave {name} at {default:g}")
