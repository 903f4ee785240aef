"""FaultLog: the failures of a batch of slots, and how many more of them are borne."""

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
        self._recent: list[deque[int]] = [deque() for _ in range(num_slots)]
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
        recent = self._recent[row]
        while recent and recent[0] <= self._num_steps - self._config.window_steps:
            recent.popleft()
        if len(recent) >= self._config.max_rebuilds:
            rebuilt = f"; it was rebuilt {len(recent)} times within {self._config.window_steps:,} steps"
            raise EnvironmentCrashedError(
                f"env {self._name} {error}{rebuilt if recent else ''}",
                slot=row,
                step=self._num_steps,
                seed=self._seeds[row],
                traceback=traceback,
            )
        recent.append(self._num_steps)
        self._num_rebuilds[row] += 1
        self._faults.append(Fault(row, self._num_steps, call, error, traceback))

    def is_rebuilding(self, row: int) -> bool:
        """Whether the slot's first environment has failed."""
        return self._num_rebuilds[row] > 0

    def back_off(self, row: int) -> None:
        """Waits before the replacement of a slot: longer, the more of them count."""
        exponent = min(max(len(self._recent[row]) - 1, 0), 60)
        time.sleep(min(self._config.backoff_s * 2**exponent, self._config.max_backoff_s))

    def rebuild_seed(self, row: int) -> int:
        """The seed of the slot's present replacement: another one each time, from the slot's own seed."""
        sequence = np.random.SeedSequence(self._seeds[row], spawn_key=(self._num_rebuilds[row],))
        return int(sequence.generate_state(1, np.uint64)[0] % 2**31)


def in_one_line(error: BaseException, call: str) -> str:
    """``raised OSError in step: the disk is gone``."""
    return f"raised {type(error).__name__} in {call}: {' '.join(str(error).split())}"
