"""FaultLog: the restart budget of each env slot of a batch, and the seeds of replaced environments."""

from __future__ import annotations

import dis
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.utils.error_text import one_line
from workers.environments.base import Fault
from workers.restart_budget import RestartBudget, RestartBudgetConfig

_ERRORS_OF_CODE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
# An error of code may come by chance, in one step of many. It does not come by chance in the same step three times.
_SAME_FAILURES = 3


class FaultLog:
    """Counts the failures in each env slot, and draws the seeds of new environments.

    Args:
        name: The environment's id, for messages.
        num_slots: B, the number of env slots.
        config: The restart budget of each env slot.
        faults: List that failures are added to.

    Attributes:
        new_seeds: The seeds of new environments, by env slot, until the slot is given another seed.
    """

    def __init__(self, name: str, num_slots: int, config: RestartBudgetConfig, faults: list[Fault]) -> None:
        self._name, self._config = name, config
        self._faults = faults
        self.new_seeds: dict[int, int] = {}
        self._seeds: list[int | None] = [None] * num_slots
        self._num_restarts = [0] * num_slots
        self._budgets = [RestartBudget(config) for _ in range(num_slots)]
        self._lives = [_Life() for _ in range(num_slots)]
        self._num_steps = 0

    @property
    def num_restarts(self) -> int:
        """Number of environments that were replaced, in all env slots together."""
        return sum(self._num_restarts)

    def begin(self, seeds: Sequence[int]) -> None:
        """Stores the seed of each env slot."""
        self._seeds = [int(seed) for seed in seeds]
        self.new_seeds.clear()
        for life in self._lives:
            # The step that resets an environment is counted, and the first reset of all is not.
            life.begin = self._num_steps - 1

    def begin_slot(self, row: int, seed: int) -> None:
        """Stores the seed of one env slot, whose last episode is over."""
        self._seeds[row] = seed
        self.new_seeds.pop(row, None)
        self.count_episode(row)

    def count_step(self) -> None:
        """Counts one step of the batch."""
        self._num_steps += 1

    def count_episode(self, row: int) -> None:
        """Counts an episode that ended in one env slot."""
        self._lives[row].num_episodes += 1

    def record(self, row: int, call: str, error: str, traceback: str, is_lasting: bool = False) -> None:
        """Adds a failure to the list.

        Args:
            row: The env slot.
            call: ``step`` or ``reset``.
            error: What went wrong, in one line.
            traceback: The traceback as text.
            is_lasting: Whether the failure does not pass with time; see :func:`is_of_code`. Then it is an error as soon
                as several environments in a row have failed in the same step of their first episode.

        Raises:
            EnvironmentCrashedError: If the env slot's restart budget is used up, or new environments do not help.
        """
        life, budget = self._lives[row], self._budgets[row]
        repeats = life.fail((call, error), self._num_steps)
        if is_lasting and repeats >= _SAME_FAILURES:
            why = f"; {repeats} new environments in a row have failed in this way"
        elif not budget.take(self._num_steps):
            replaced = f"; it was replaced {budget.num_recent} times within {self._config.window_steps:,} steps"
            why = replaced if budget.num_recent else ""
        else:
            self._num_restarts[row] += 1
            self._faults.append(Fault(row, self._num_steps, call, error, traceback))
            life.failed_s = time.monotonic()
            return
        raise EnvironmentCrashedError(
            f"env {self._name} {error}{why}",
            slot=row,
            step=self._num_steps,
            seed=self._seeds[row],
            traceback=traceback,
        )

    def has_failed(self, row: int) -> bool:
        """Returns True if the env slot's first environment has failed."""
        return self._num_restarts[row] > 0

    def back_off(self, row: int) -> None:
        """Waits before an environment is replaced: the more recent failures, the longer.

        The time since its failure counts, so that env slots that failed in one step do not wait one after the other.
        """
        time.sleep(max(self._lives[row].failed_s + self._budgets[row].wait_s - time.monotonic(), 0.0))

    def restart_seed(self, row: int) -> int:
        """Returns the seed of the env slot's new environment, drawn from the slot's seed and its number of restarts."""
        self._lives[row].begin = self._num_steps
        sequence = np.random.SeedSequence(self._seeds[row], spawn_key=(self._num_restarts[row],))
        self.new_seeds[row] = int(sequence.generate_state(1, np.uint64)[0] % 2**31)
        return self.new_seeds[row]


@dataclass
class _Life:
    """An env slot's environment, and how those before it have ended.

    Attributes:
        begin: Number of the batch's steps when it was made.
        num_episodes: Number of episodes that it has ended.
        last_failure: What the one before failed with, and after how many steps.
        repeats: Number of environments in a row that failed in the same way in their first episode.
        failed_s: Clock time of the last failure.
    """

    begin: int = 0
    num_episodes: int = 0
    last_failure: tuple[Any, ...] = ()
    repeats: int = 0
    failed_s: float = 0.0

    def fail(self, failure: tuple[str, str], num_steps: int) -> int:
        """Ends the environment's life; returns ``repeats``."""
        found = (*failure, num_steps - self.begin)
        if self.num_episodes:
            self.repeats = 0
        else:
            self.repeats = self.repeats + 1 if found == self.last_failure else 1
        self.last_failure, self.num_episodes = found, 0
        return self.repeats


def is_of_code(error: BaseException) -> bool:
    """Returns True for errors that code makes, such as a wrong key. They stay, as long as nobody changes the code.

    Others may pass by themselves: a file or a connection that is not there yet, too little memory, and what a library
    raises, such as a RuntimeError of a simulator that does not answer.
    """
    return isinstance(error, _ERRORS_OF_CODE)


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
