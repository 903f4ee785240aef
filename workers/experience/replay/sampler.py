"""Sampler: makes samples of the rows of a ring."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from workers.experience.experience import Sample
from workers.experience.replay.columns import KeptRows
from workers.experience.replay.draws import Drawn
from workers.experience.replay.outputs import Outputs
from workers.experience.replay.ring import Inserted, Ring
from workers.experience.replay.structure import RolloutStructure


class Sampler(abc.ABC):
    """Says which places there are to draw, and makes samples of those that were drawn.

    Args:
        ring: The rows.
        shape: ``(K, B)``.
    """

    def __init__(self, ring: Ring, shape: tuple[int, int]) -> None:
        self._ring, self._shape = ring, shape
        self._outputs = Outputs()

    @property
    @abc.abstractmethod
    def num_steps(self) -> int:
        """The most steps after a row that are read with it."""

    @property
    @abc.abstractmethod
    def rows_of_sample(self) -> int:
        """Number of rows that a sample is made of."""

    @property
    @abc.abstractmethod
    def is_valid(self) -> np.ndarray:
        """bool ``[N]``: which places can be drawn."""

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of its own."""
        return self._outputs.nbytes

    def place_bytes(self, rollout: Rollout, num_rows: int) -> int:
        """Returns the bytes of what it keeps of rollouts like this one in a ring of so many rows."""
        return 0

    @abc.abstractmethod
    def begin(self, rollouts: Sequence[Rollout]) -> None:
        """Makes the arrays of its own, after the ring's, for rollouts like these."""

    def has_room(self, rollouts: Sequence[Rollout]) -> bool:
        """Returns whether its arrays are large enough for rollouts like these."""
        return True

    @abc.abstractmethod
    def insert(self, rollout: Rollout, inserted: Inserted) -> np.ndarray:
        """Takes note of a rollout that was written to the ring; returns the places that changed, int64 ``[M]``."""

    @abc.abstractmethod
    def sample(self, drawn: Drawn, structure: RolloutStructure) -> Sample:
        """Returns a sample of these places. Its arrays are written over by the next one."""

    @abc.abstractmethod
    def zeros(self, rollout: Rollout) -> Sample:
        """Returns a sample of zeros, for rollouts like this one."""

    @abc.abstractmethod
    def first_rows(self, places: np.ndarray) -> np.ndarray:
        """Returns the ring's rows at which the samples of places begin."""

    @abc.abstractmethod
    def identities(self, places: np.ndarray) -> np.ndarray:
        """Returns a number for each place that changes when something else comes to the place."""

    @abc.abstractmethod
    def places_kept(self) -> np.ndarray:
        """Returns the places that are in use, in the order of :meth:`state`'s."""

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state that is not the ring's, by name."""
        return {}

    @abc.abstractmethod
    def restore(
        self, state: Mapping[str, np.ndarray], rows: KeptRows, coming: Sequence[Rollout] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """Restores a state from :meth:`state` after the ring's.

        Args:
            state: The state.
            rows: The rows that the ring kept.
            coming: Rollouts that there has to be room for.

        Returns:
            Where places of the state are now, and which of its places these are, bool ``[M]``.
        """
