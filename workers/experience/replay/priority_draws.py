"""PriorityDraws: draws places by their priorities (Schaul et al., "Prioritized Experience Replay", 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workers.experience.replay.draws import Drawn, Draws
from workers.experience.replay.sum_tree import SumTree

# Added to each priority, so that a place with no error can be drawn again.
_EPSILON = 1e-6


class PriorityDraws(Draws):
    """Draws with probabilities in proportion to ``priority ** exponent``; see :class:`Draws`.

    A batch is stratified: each of its B draws is from its own B-th part of the sum. New places get the highest
    priority so far.

    Args:
        shape: ``(K, B)``.
        exponent: Alpha.
        importance_exponent: Beta at the start of the run; it grows to 1 at its end.
    """

    def __init__(self, shape: tuple[int, int], exponent: float, importance_exponent: float) -> None:
        super().__init__(shape)
        self._exponent, self._importance_exponent = exponent, importance_exponent
        self._tree = SumTree(0)
        self._highest = 1.0

    @property
    def takes_feedback(self) -> bool:
        """Whether draws depend on priorities."""
        return True

    @staticmethod
    def bytes_for(num_places: int) -> int:
        """Returns the bytes of the sum tree for that many places."""
        return SumTree.bytes_for(num_places)

    def begin(self, is_valid: np.ndarray) -> None:
        """Begins with other places."""
        super().begin(is_valid)
        self._tree, self._highest = SumTree(len(is_valid)), 1.0

    def changed(self, places: np.ndarray) -> None:
        """Gives the valid ones of these places the highest priority so far, and others none."""
        super().changed(places)
        self._tree.set(places, np.where(self._is_valid[places], self._highest, 0.0))

    def draw(self, rng: np.random.Generator, progress: float) -> Drawn:
        """Draws K batches of B places, with their importance weights divided by the batch's largest one."""
        points = (np.arange(self._shape[1]) + rng.random(self._shape)) / self._shape[1]
        # Rounding may make 1 of a point just below it.
        places = self._tree.draw(np.minimum(points.ravel(), np.nextafter(1.0, 0.0)))
        values = self._tree.get(places).reshape(self._shape)
        beta = self._importance_exponent + (1.0 - self._importance_exponent) * progress
        weights = (values.min(axis=1, keepdims=True) / values) ** beta
        return Drawn(places, weights.astype(np.float32))

    def feedback(self, places: np.ndarray, priorities: np.ndarray) -> None:
        """Changes the priorities of valid places. The last one counts if a place is there several times.

        Args:
            places: int64 ``[N]``.
            priorities: float32 ``[N]``, of any sign.
        """
        values = (np.abs(priorities.astype(np.float64)) + _EPSILON) ** self._exponent
        self._tree.set(places, np.where(self._is_valid[places], values, 0.0))
        self._highest = max(self._highest, float(values.max(initial=0.0)))

    def state(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the priorities of these places, and the highest one."""
        return {"priorities": self._tree.get(places), "highest": np.asarray(self._highest)}

    def restore(self, state: Mapping[str, np.ndarray], places: np.ndarray, is_kept: np.ndarray) -> None:
        """Restores a state from :meth:`state`."""
        if "highest" not in state:
            super().restore(state, places, is_kept)
            return
        self._highest = float(state["highest"])
        priorities = state["priorities"][is_kept]
        # A sequence that was not whole has none, and may be whole now that sequences are shorter.
        priorities = np.where(priorities > 0.0, priorities, self._highest)
        self._tree.set(places, np.where(self._is_valid[places], priorities, 0.0))
