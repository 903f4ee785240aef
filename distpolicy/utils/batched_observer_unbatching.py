"""BatchedObserverUnbatching: an observer for each row of batched trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distpolicy.utils.nest_utils import unstack_nested_arrays


class BatchedObserverUnbatching:
    """Takes batches apart and passes each row to an observer of its own.

    Args:
        create_delegated_observer_fn: Makes the observer of a row.
        batch_size: Number of rows.
    """

    def __init__(self, create_delegated_observer_fn: Callable[[], Callable[[Any], Any]], batch_size: int) -> None:
        self._observers = [create_delegated_observer_fn() for _ in range(batch_size)]

    def __call__(self, batched_trajectory: Any) -> None:
        """Passes on a trajectory of arrays ``[B, ...]``.

        Raises:
            ValueError: If it does not have as many rows as there are observers.
        """
        for observer, row in zip(self._observers, unstack_nested_arrays(batched_trajectory), strict=True):
            observer(row)
