"""How many failures are borne: RebuildBudget of one thing that fails, FaultLog of a batch of slots."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distpolicy.errors import ConfigError, EnvironmentCrashedError
from workers.environment import Fault


@dataclass(frozen=True)
class RebuildConfig:
    """When a failed environment is replaced, and when the run stops instead.

    Attributes:
        max_rebuilds: Replacements of one slot within ``window_steps``; 0 to stop at the first failure.
        window_steps: Steps of the slot after which a replacement no longer counts, so that rare failures do not add
            up to the end of a long run.
        backoff_s: Seconds to wait before the first replacement; twice as many before each further one that counts.
        max_backoff_s: The longest wait.
    """

    max_rebuilds: int = 10
    window_steps: int = 10_000
    backoff_s: float = 0.05
    max_backoff_s: float = 5.0

    def __post_init__(self) -> None:
        if self.max_rebuilds < 0 or self.window_steps < 1:
            raise ConfigError(
                f"max_rebuilds must be 0 or more and window_steps 1 or more, but they are {self.max_rebuilds} "
                f"and {self.window_steps}"
            )
        if self.backoff_s < 0 or self.max_backoff_s < 0:
            raise ConfigError(f"backoff_s {self.backoff_s} and max_backoff_s {self.max_backoff_s} must be 0 or more")


class RebuildBudget:
    """Counts the replacements of one thing.

    Args:
        config: How many there may be.
    """

    def __init__(self, config: RebuildConfig) -> None:
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
        if len(self._recent) >= self._config.max_rebuilds:
            return False
        self._recent.append(step)
        return True

    @property
    def wait_s(self) -> float:
        """Seconds to wait before the replacement: longer, the more of them count."""
        exponent = min(max(len(self._recent) - 1, 0), 60)
        return min(self._config.backoff_s * 2**exponent, self._config.max_backoff_s)


class FaultLog:
    """Counts the failures of each slot, and gives its replacements their seeds.

    Args:
        name: The environment's id, for messages.
        num_slots: B.
        config: The budget.
        faults: Where to note failures.
    """

    def __init__(self, name: str, num_slots: int, config: RebuildConfig, faults: list[Fault]) -> None:
        self._name, self._config = name, config
        self._faults = faults
        self._seeds: list[int | None] = [None] * num_slots
        self._num_rebuilds = [0] * num_slots
        self._budgets = [RebuildBudget(config) for _ in range(num_slots)]
        self._num_steps = 0

    @property
    def num_rebuilds(self) -> int:
        """Replacements of all slots."""
        return sum(self._num_rebuilds)

    def begin(self, seeds: Sequence[int]) -> None:
        """Takes the slots' seeds."""
        self._seeds = [int(seed) for seed in seeds]

    def count_step(self) -> None:
        """One more step of the batch is over."""
        self._num_steps += 1

    def record(self, row: int, call: str, error: str, traceback: str) -> None:
        """Notes a failure.

        Args:
            row: The slot.
            call: ``step`` or ``reset``.
            error: What went wrong, in one line.
            traceback: Where, as text.

        Raises:
            EnvironmentCrashedError: If the slot's budget is used up.
        """
        budget = self._budgets[row]
        if not budget.take(self._num_steps):
            rebuilt = f"; it was rebuilt {budget.num_recent} times within {self._config.window_steps:,} steps"
            raise EnvironmentCrashedError(
                f"env {self._name} {error}{rebuilt if budget.num_recent else ''}",
                slot=row,
                step=self._num_steps,
                seed=self._seeds[row],
                traceback=traceback,
            )
        self._num_rebuilds[row] += 1
        self._faults.append(Fault(row, self._num_steps, call, error, traceback))

    def is_rebuilding(self, row: int) -> bool:
        """Whether the slot's first environment has failed."""
        return self._num_rebuilds[row] > 0

    def back_off(self, row: int) -> None:
        """Waits before the replacement of a slot: longer, the more of them count."""
        time.sleep(self._budgets[row].wait_s)

    def rebuild_seed(self, row: int) -> int:
        """The seed of the slot's present replacement: another one each time, from the slot's own seed."""
        sequence = np.random.SeedSequence(self._seeds[row], spawn_key=(self._num_rebuilds[row],))
        return int(sequence.generate_state(1, np.uint64)[0] % 2**31)


def in_one_line(error: BaseException, call: str) -> str:
    """``raised OSError in step: the disk is gone``."""
    return f"raised {type(error).__name__} in {call}: {' '.join(str(error).split())}"
