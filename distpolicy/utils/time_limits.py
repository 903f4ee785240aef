"""time_limit: a number of seconds that every clock and every wait takes."""

from __future__ import annotations

from distpolicy.errors import ConfigError

# Selectors and sockets count milliseconds in 32 bits: 24 days. This leaves a day for what is added to a limit.
LONGEST_S = 2e6


def time_limit(name: str, seconds: float) -> float:
    """Returns a time limit that somebody gave. What is longer than 23 days, such as infinity, becomes 23 days.

    Args:
        name: The setting's name, for messages.
        seconds: The limit.

    Raises:
        ConfigError: If it is not above 0.
    """
    # NaN is not above 0 either.
    if not seconds > 0:
        raise ConfigError(f"{name} must be above 0, but is {seconds}")
    return min(seconds, LONGEST_S)
