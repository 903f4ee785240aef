"""FaultLog: counts the failures of each env slot of a batch, and gives its replacements their seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from distpolicy.errors import EnvironmentCrashedError
from workers.environments.base import Fault
from workers.restart_budget import RestartBudget, RestartBudgetConfig


class FaultLog:
    """Counts the failures of each slot, and gives its replacements their seeds.

    Args:
        name: The environment's id, for messages.
        num_slots: B.
        config: The budget.
        faults: Where to note failures.
    """

    def __init__(self, name: str, num_slots: int, config: RestartBudgetConfig, faults: list[Fault]) -> None:
        self._name, self._config = name, config
        self._faults = faults
        self._seeds: list[int | None] = [None] * num_slots
        self._num_rebuilds = [0] * num_slots
        self._budgets = [RestartBudget(config) for _ in range(num_slots)]
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
