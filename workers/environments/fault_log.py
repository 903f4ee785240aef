"""FaultLog: the restart budget of each env slot of a batch, and the seeds of replaced environments."""

from __future__ import annotations

import dis
import time
from collections.abc import Sequence

import numpy as np

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.utils.error_text import one_line
from workers.environments.base import Fault
from workers.restart_budget import RestartBudget, RestartBudgetConfig


class FaultLog:
    """Counts the failures in each env slot, and draws the seeds of new environments.

    Args:
        name: The environment's id, for messages.
        num_slots: B, the number of env slots.
        config: The restart budget of each env slot.
        faults: List that failures are added to.
    """

    def __init__(self, name: str, num_slots: int, config: RestartBudgetConfig, faults: list[Fault]) -> None:
        self._name, self._config = name, config
        self._faults = faults
        self._seeds: list[int | None] = [None] * num_slots
        self._num_restarts = [0] * num_slots
        self._budgets = [RestartBudget(config) for _ in range(num_slots)]
        self._num_steps = 0

    @property
    def num_restarts(self) -> int:
        """Number of environments that were replaced, in all env slots together."""
        return sum(self._num_restarts)

    def begin(self, seeds: Sequence[int]) -> None:
        """Stores the seed of each env slot."""
        self._seeds = [int(seed) for seed in seeds]

    def begin_slot(self, row: int, seed: int) -> None:
        """Stores the seed of one env slot."""
        self._seeds[row] = seed

    def count_step(self) -> None:
        """Counts one step of the batch."""
        self._num_steps += 1

    def record(self, row: int, call: str, error: str, traceback: str) -> None:
        """Adds a failure to the list.

        Args:
            row: The env slot.
            call: ``step`` or ``reset``.
            error: What went wrong, in one line.
            traceback: The traceback as text.

        Raises:
            EnvironmentCrashedError: If the env slot's restart budget is used up.
        """
        budget = self._budgets[row]
        if not budget.take(self._num_steps):
            replaced = f"; it was replaced {budget.num_recent} times within {self._config.window_steps:,} steps"
            raise EnvironmentCrashedError(
                f"env {self._name} {error}{replaced if budget.num_recent else ''}",
                slot=row,
                step=self._num_steps,
                seed=self._seeds[row],
                traceback=traceback,
            )
        self._num_restarts[row] += 1
        self._faults.append(Fault(row, self._num_steps, call, error, traceback))

    def has_failed(self, row: int) -> bool:
        """Returns True if the env slot's first environment has failed."""
        return self._num_restarts[row] > 0

    def back_off(self, row: int) -> None:
        """Waits before an environment is replaced: the more recent failures, the longer."""
        time.sleep(self._budgets[row].wait_s)

    def restart_seed(self, row: int) -> int:
        """Returns the seed of the env slot's new environment, drawn from the slot's seed and its number of restarts."""
        sequence = np.random.SeedSequence(self._seeds[row], spawn_key=(self._num_restarts[row],))
        return int(sequence.generate_state(1, np.uint64)[0] % 2**31)


def in_one_line(error: BaseException, call: str) -> str:
    """Returns a line such as ``raised OSError in step: the disk is gone``."""
    text = one_line(error)
    return f"raised {type(error).__name__} in {call}{f': {text}' if text else ''}"


def is_fault(error: BaseException) -> bool:
    """Returns True if an environment raised an error on its own account; False if this process was told to end.

    An environment may raise KeyboardInterrupt, for instance because its window was closed, or call ``sys.exit``. Code
    of other languages and asyncio raise errors that are not an ``Exception``, too.
    """
    if not isinstance(error, KeyboardInterrupt | SystemExit):
        return True
    place = error.__traceback__
    if place is None:
        return False
    while place.tb_next is not None:
        place = place.tb_next
    if isinstance(error, SystemExit):
        # The handlers of signals exit, too.
        return not place.tb_frame.f_globals.get("__name__", "").startswith(("ray.", "launch."))
    # A signal interrupts any instruction. One that an environment raised comes from a raise.
    operation = dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]]
    return type(error) is KeyboardInterrupt and operation in ("RAISE_VARARGS", "RERAISE")
