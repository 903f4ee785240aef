"""RestartBudget: how often an environment or a collector may be replaced, and the waits before that."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class RestartBudgetConfig:
    """How many restarts are tolerated before a failure ends the run.

    Attributes:
        max_restarts: Restarts of one environment or collector within ``window_steps``; 0 ends the run at the first
            failure.
        window_steps: Environment steps after which a restart no longer counts, so that rare failures do not end a long
            run.
        backoff_s: Seconds to wait before the first restart. The wait doubles with each further restart that counts.
        max_backoff_s: The longest wait, in seconds.
    """

    max_restarts: int = 10
    window_steps: int = 10_000
    backoff_s: float = 0.05
    max_backoff_s: float = 5.0

    def __post_init__(self) -> None:
        if self.max_restarts < 0 or self.window_steps < 1:
            raise ConfigError(
                f"max_restarts must be 0 or more and window_steps 1 or more, but they are {self.max_restarts} "
                f"and {self.window_steps}"
            )
        if self.backoff_s < 0 or self.max_backoff_s < 0:
            raise ConfigError(
                f"backoff_s and max_backoff_s must be 0 or more, but they are {self.backoff_s} and {self.max_backoff_s}"
            )


class RestartBudget:
    """Counts the restarts of one environment or collector.

    Args:
        config: How many restarts are tolerated.
    """

    def __init__(self, config: RestartBudgetConfig) -> None:
        self._config = config
        self._recent: deque[int] = deque()

    @property
    def num_recent(self) -> int:
        """Number of restarts that count."""
        return len(self._recent)

    def take(self, step: int) -> bool:
        """Counts a restart if the budget allows it.

        Args:
            step: Number of environment steps before the failure.

        Returns:
            Whether the restart is allowed.
        """
        while self._recent and self._recent[0] <= step - self._config.window_steps:
            self._recent.popleft()
        if len(self._recent) >= self._config.max_restarts:
            return False
        self._recent.append(step)
        return True

    @property
    def wait_s(self) -> float:
        """Seconds to wait before the restart. The more restarts count, the longer the wait."""
        exponent = min(max(len(self._recent) - 1, 0), 60)
        return min(self._config.backoff_s * 2**exponent, self._config.max_backoff_s)
