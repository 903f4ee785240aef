"""IntervalTrigger: calls a function every so many steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class IntervalTrigger:
    """Calls ``fn`` whenever a value has grown by an interval since the last call.

    Args:
        interval: The interval; 0 or less never to call it.
        fn: A function without arguments.
        start: The value that the first interval begins with.
    """

    def __init__(self, interval: int, fn: Callable[[], Any], start: int = 0) -> None:
        self._interval, self._fn = interval, fn
        self._start = self._last = start

    def __call__(self, value: Any, force_trigger: bool = False) -> None:
        """Calls the function if it is time.

        Args:
            value: An integer, a scalar or a variable.
            force_trigger: Whether to call it in any case, unless it was called at this value.
        """
        value = int(value)
        if self._interval <= 0:
            return
        if (force_trigger and value != self._last) or value >= self._last + self._interval:
            self._last = value
            self._fn()

    def set_start(self, start: Any) -> None:
        """Sets the value that the next interval begins with."""
        self._last = int(start)

    def reset(self) -> None:
        """Goes back to the constructor's start."""
        self._last = self._start
