"""SampleDebt: how many samples are due for the transitions that came in."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from distpolicy.errors import ConfigError

# Ratios are rounded to a denominator up to this one, so that the debt fits in two int64 numbers.
_LARGEST_DENOMINATOR = 1_000_000


class SampleDebt:
    """Counts exactly, in fractions: no rounding error adds up, however long the run.

    Args:
        samples_per_insert: Samples that each transition adds to the debt.
        min_size: Transitions that come before; they add nothing.
        cost: Samples that one call pays back.
    """

    def __init__(self, samples_per_insert: float, min_size: int, cost: int) -> None:
        self._ratio = Fraction(repr(float(samples_per_insert))).limit_denominator(_LARGEST_DENOMINATOR)
        if self._ratio <= 0:
            raise ConfigError(f"samples_per_insert must be 0.000001 or more, but is {samples_per_insert}")
        self._min_size, self._cost = min_size, cost
        self._num_inserted, self._debt = 0, Fraction(0)

    def insert(self, num_transitions: int, can_draw: bool = True) -> None:
        """Adds what the transitions owe.

        Args:
            num_transitions: How many came in.
            can_draw: Whether there is anything to draw. If not, they add nothing.
        """
        before = max(self._num_inserted, self._min_size)
        self._num_inserted += num_transitions
        if can_draw:
            self._debt += self._ratio * max(0, self._num_inserted - before)

    def pay(self) -> bool:
        """Pays for one call. Returns False, and changes nothing, if the debt is smaller than its cost."""
        if self._debt < self._cost:
            return False
        self._debt -= self._cost
        return True

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state, by name."""
        debt = np.array([self._debt.numerator, self._debt.denominator], np.int64)
        return {"debt": debt, "num_inserted": np.asarray(self._num_inserted, np.int64)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores a state from :meth:`state`; begins anew if it is empty."""
        if not state:
            self._debt, self._num_inserted = Fraction(0), 0
            return
        debt = Fraction(int(state["debt"][0]), int(state["debt"][1]))
        # Exact unless the run had another ratio before this one: such debts would outgrow the two numbers in the end.
        self._debt = debt.limit_denominator(_LARGEST_DENOMINATOR)
        self._num_inserted = int(state["num_inserted"])
