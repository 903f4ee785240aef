"""Draws: decides which places of a replay buffer a sample is made of."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Drawn(NamedTuple):
    """What was drawn.

    Attributes:
        places: int64 ``[K * B]``.
        weights: float32 ``[K, B]``: what each counts in the loss.
    """

    places: np.ndarray
    weights: np.ndarray


class Draws(abc.ABC):
    """Draws places with replacement. A place is a row at which a transition starts, or a sequence.

    Args:
        shape: ``(K, B)``.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._is_valid = np.zeros(0, np.bool_)
        self._size: int | None = None

    @property
    def size(self) -> int:
        """Number of places that can be drawn."""
        if self._size is None:
            self._size = int(np.count_nonzero(self._is_valid))
        return self._size

    @property
    def takes_feedback(self) -> bool:
        """Whether draws depend on priorities."""
        return False

    @staticmethod
    def bytes_for(num_places: int) -> int:
        """Returns the bytes of its own arrays for that many places."""
        return 0

    def feedback(self, places: np.ndarray, priorities: np.ndarray) -> None:
        """Changes the priorities of places. The last one counts if a place is there several times.

        Args:
            places: int64 ``[N]``.
            priorities: float32 ``[N]``, of any sign.
        """
        raise NotImplementedError(f"{type(self).__name__} has no priorities")

    def begin(self, is_valid: np.ndarray) -> None:
        """Begins with other places.

        Args:
            is_valid: bool ``[N]``: which places can be drawn. The array is not copied; see :meth:`changed`.
        """
        self._is_valid, self._size = is_valid, None

    def changed(self, places: np.ndarray) -> None:
        """Says that these places were written, and which are valid now may have changed. int64 ``[M]``."""
        self._size = None

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator, progress: float) -> Drawn:
        """Draws K batches of B places. There must be one that can be drawn.

        Args:
            rng: The random numbers.
            progress: The share of the run that is over, in [0, 1].
        """

    def state(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the state by name, for these places."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray], places: np.ndarray, is_kept: np.ndarray) -> None:
        """Restores a state from :meth:`state`, after :meth:`begin`.

        Args:
            state: The state.
            places: Where the places of the state are now.
            is_kept: Which of the state's places these are.
        """
        self.changed(places)
