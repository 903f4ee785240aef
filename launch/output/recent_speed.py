"""RecentSpeed: a speed over the last seconds, so that a run that slows down shows it."""

from __future__ import annotations

from collections import deque

WINDOW_S = 10.0
# The shortest time that a speed is computed from, if there is a longer one: collectors answer together.
_LEAST_S = 1.0


class RecentSpeed:
    """The growth of a total per second, over the last :data:`WINDOW_S` seconds or the last addition if that is longer.

    The first addition counts only until there have been others for a second, since it includes the time of getting
    ready.

    Args:
        start_s: Clock time at which the total was 0.
    """

    def __init__(self, start_s: float) -> None:
        self._points: deque[tuple[float, float]] = deque([(start_s, 0.0)])
        self._has_first = True

    def add(self, now_s: float, total: float) -> float:
        """Notes a total, and returns the speed.

        Args:
            now_s: Clock time.
            total: The total at that time.
        """
        points = self._points
        points.append((now_s, total))
        if self._has_first and len(points) > 2 and total > points[1][1] and now_s - points[1][0] >= _LEAST_S:
            self._has_first = False
            points.popleft()
        while not self._has_first and len(points) > 2 and points[1][0] <= now_s - WINDOW_S:
            points.popleft()
        (begin_s, before) = points[0]
        return (total - before) / max(now_s - begin_s, 1e-9)
