"""UniformDraws: draws all places with the same probability."""

from __future__ import annotations

import numpy as np

from workers.experience.replay.draws import Drawn, Draws

# The share of valid places from which on places are drawn until they are valid.
_DENSE = 0.25


class UniformDraws(Draws):
    """Draws all valid places with the same probability; see :class:`Draws`."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__(shape)
        self._valid: np.ndarray | None = None
        self._weights = np.ones(shape, np.float32)

    def begin(self, is_valid: np.ndarray) -> None:
        """Begins with other places."""
        super().begin(is_valid)
        self._valid = None

    def changed(self, places: np.ndarray) -> None:
        """Says that these places were written."""
        super().changed(places)
        self._valid = None

    def draw(self, rng: np.random.Generator, progress: float) -> Drawn:
        """Draws K batches of B places; every weight is 1."""
        count, num_places = self._weights.size, len(self._is_valid)
        if self.size < _DENSE * num_places:
            if self._valid is None:
                self._valid = np.flatnonzero(self._is_valid)
            return Drawn(self._valid[rng.integers(0, self.size, count)], self._weights)
        places = rng.integers(0, num_places, count)
        # Others are drawn for those that are not valid. This ends soon, since a quarter of all places are.
        missing = np.flatnonzero(~self._is_valid[places])
        while len(missing):
            places[missing] = rng.integers(0, num_places, len(missing))
            missing = missing[~self._is_valid[places[missing]]]
        return Drawn(places, self._weights)
