"""How many failures are borne: RestartBudget of one thing that fails, FaultLog of a batch of slots."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class RestartBudgetConfig:
    """When a failed environment is replaced, and when the run stops instead.

    Attributes:
        max_restarts: Replacements of one slot within ``window_steps``; 0 to stop at the first failure.
        window_steps: Steps of the slot after which a replacement no longer counts, so that rare failures do not add
            up to the end of a long run.
        backoff_s: Seconds to wait before the first replacement; twice as many before each further one that counts.
        max_backoff_s: The longest wait.
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
            raise ConfigError(f"backoff_s {self.backoff_s} and max_backoff_s {self.max_backoff_s} must be 0 or more")


class RestartBudget:
    """Counts the replacements of one thing.

    Args:
        config: How many there may be.
    """

    def __init__(self, config: RestartBudgetConfig) -> None:
        self._config = config
        self._recent: deque[int] = deque()

    @property
    def num_recent(self) -> int:
        """Replacements that count."""
        return len(self._recent)

    def take(self, step: int) -> bool:
        """Whether a replacement is borne; if so, it counts.

        Args:
            step: Steps that had been taken.
        """
        while self._recent and self._recent[0] <= step - self._config.window_steps:
            self._recent.popleft()
        if len(self._recent) >= self._config.max_restarts:
            return False
        self._recent.append(step)
        return True

    @property
    def wait_s(self) -> float:
        """Seconds to wait before the replacement: longer, the more of them count."""
        exponent = min(max(len(self._recent) - 1, 0), 60)
        return min(self._config.backoff_s * 2**exponent, self._config.max_backoff_s)
