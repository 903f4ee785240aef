"""UniformDraws: draws rows with equal probability."""

from __future__ import annotations

import numpy as np

# The share of rows with a transition from which on rows are drawn until one has a transition.
_DENSE = 0.25


class UniformDraws:
    """Draws rows at which a transition starts, all with the same probability."""

    def __init__(self) -> None:
        self._starts: np.ndarray | None = None

    def changed(self) -> None:
        """Says that rows were written."""
        self._starts = None

    def draw(self, is_start: np.ndarray, size: int, count: int, rng: np.random.Generator) -> np.ndarray:
        """Returns rows, int64 ``[count]``.

        Args:
            is_start: bool ``[num_rows]``: where a transition starts.
            size: How many there are, above 0.
            count: How many to draw, with replacement.
            rng: The random numbers.
        """
        if size < _DENSE * len(is_start):
            if self._starts is None:
                self._starts = np.flatnonzero(is_start)
            return self._starts[rng.integers(0, size, count)]
        rows = rng.integers(0, len(is_start), count)
        # Where none starts, others are drawn. This ends soon, since a quarter of all rows are starts.
        missing = np.flatnonzero(~is_start[rows])
        while len(missing):
            rows[missing] = rng.integers(0, len(is_start), len(missing))
            missing = missing[~is_start[rows[missing]]]
        return rows
