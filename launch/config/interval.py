"""Interval: how often something happens in a run, in updates or in seconds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from distpolicy.errors import ConfigError

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = re.compile(r"-?[0-9]+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh])")


@dataclass(frozen=True)
class Interval:
    """The time between two events: a number of updates, or seconds.

    Attributes:
        updates: Number of updates; None for seconds.
        seconds: Seconds; None for updates.
    """

    updates: int | None = None
    seconds: float | None = None

    @staticmethod
    def of(value: int | str, name: str) -> Interval:
        """Returns the interval that a setting names: ``50`` for updates, ``30s``, ``5m`` or ``1h`` for a time.

        Args:
            value: The setting's value.
            name: Its name, for messages.

        Raises:
            ConfigError: If it is neither, or is 0.
        """
        text = str(value).strip()
        if _NUMBER.fullmatch(text):
            if int(text) < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {value}")
            return Interval(updates=int(text))
        found = _DURATION.fullmatch(text)
        if found is None or float(found[1]) == 0.0:
            raise ConfigError(f"{name} must be a number of updates, or a time such as 30s, 5m or 1h, but is {value!r}")
        return Interval(seconds=float(found[1]) * _UNITS_S[found[2]])


class IntervalClock:
    """Tells when an interval is over.

    Args:
        interval: The interval; None for never.
        now: Seconds of the clock that :meth:`is_due` is asked with.
    """

    def __init__(self, interval: Interval | None, now: float) -> None:
        self._interval, self._last = interval, now

    @property
    def is_on(self) -> bool:
        """Whether there is an interval."""
        return self._interval is not None

    def is_due(self, update: int, now: float) -> bool:
        """Returns True if the event is due after an update; the next interval begins then.

        Args:
            update: Number of the update, from 1.
            now: Seconds of the same clock.
        """
        if self._interval is None:
            return False
        if self._interval.updates is not None:
            return update % self._interval.updates == 0
        assert self._interval.seconds is not None
        if now - self._last < self._interval.seconds:
            return False
        self._last = now
        return True

    def repeat(self) -> None:
        """Makes the event due again after the next update, if its interval is a time: it did not take place."""
        self._last = -math.inf
