"""RingStore: several rings of items in NumPy arrays."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import CheckpointError


class RingStore(tf.train.experimental.PythonState):
    """Keeps the last L items of each of B segments. A checkpoint holds them.

    Variables would be copied whole at every write, so the items are in arrays. An item's id says how many were added to
    its segment before. All methods may be called from any thread.

    Args:
        shapes: The shape of each array of an item.
        dtypes: The dtype of each.
        num_segments: B.
        max_length: L.
    """

    def __init__(
        self, shapes: Sequence[Sequence[int]], dtypes: Sequence[Any], num_segments: int, max_length: int
    ) -> None:
        super().__init__()
        self.num_segments, self.max_length = num_segments, max_length
        # The system gives memory to what has been written.
        self._arrays = [
            np.zeros((num_segments * max_length, *shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True)
        ]
        self._num_added = 0
        self._lock = threading.Lock()

    @property
    def length(self) -> int:
        """The number of items in each segment."""
        return min(self._num_added, self.max_length)

    @property
    def num_items(self) -> int:
        """The number of items in all segments."""
        return self.length * self.num_segments

    def add(self, leaves: Sequence[np.ndarray]) -> None:
        """Adds an item to each segment.

        Args:
            leaves: The arrays of the items, each ``[B, ...]``.
        """
        with self._lock:
            rows = np.arange(self.num_segments) * self.max_length + self._num_added % self.max_length
            for array, leaf in zip(self._arrays, leaves, strict=True):
                array[rows] = leaf
            self._num_added += 1

    def clear(self) -> None:
        """Removes all items."""
        with self._lock:
            self._num_added = 0

    def sample(self, draws: np.ndarray, num_steps: int) -> tuple[list[np.ndarray], np.ndarray, float]:
        """Takes sequences of consecutive items of a segment. Each sequence has the same probability.

        Args:
            draws: Random int64 ``[2, N]`` of at least 0: they choose ids and segments.
            num_steps: T, the number of items of a sequence.

        Returns:
            The arrays ``[N, T, ...]``, ids int64 ``[N, T]``, and the probability of each of the sequences.

        Raises:
            ValueError: If no segment has T items.
        """
        with self._lock:
            num_starts = self.length - num_steps + 1
            if num_starts <= 0:
                raise ValueError(
                    f"the replay buffer is empty or too short: it has {self.length} steps of each environment, and "
                    f"{num_steps} were asked for"
                )
            first = self._num_added - self.length + draws[0] % num_starts
            ids = first[:, np.newaxis] + np.arange(num_steps)
            return (
                self._take(ids, (draws[1] % self.num_segments)[:, np.newaxis]),
                ids,
                1.0 / (num_starts * self.num_segments),
            )

    def valid_ids(self) -> tuple[int, int]:
        """Returns the id of the oldest item, and the id after the newest."""
        with self._lock:
            return self._num_added - self.length, self._num_added

    def read(self, ids: np.ndarray, segments: np.ndarray) -> list[np.ndarray]:
        """Returns items.

        Args:
            ids: int64 ``[...]``.
            segments: int64, broadcast to the ids.

        Returns:
            The arrays ``[..., *shape]``.
        """
        with self._lock:
            return self._take(ids, segments)

    def _take(self, ids: np.ndarray, segments: np.ndarray) -> list[np.ndarray]:
        rows = segments * self.max_length + ids % self.max_length
        return [array.take(rows, axis=0) for array in self._arrays]

    def serialize(self) -> bytes:
        """Returns the items, the oldest first, as a file of NumPy's."""
        with self._lock:
            ids = np.arange(self._num_added - self.length, self._num_added)
            leaves = self._take(ids, np.arange(self.num_segments)[:, np.newaxis])
            file = io.BytesIO()
            np.savez(file, allow_pickle=False, num_added=self._num_added, **{f"a{i}": x for i, x in enumerate(leaves)})
            return file.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        """Takes the items that :meth:`serialize` returned.

        Raises:
            CheckpointError: If they belong to a buffer of another kind or size.
        """
        with np.load(io.BytesIO(string_value), allow_pickle=False) as file:
            num_added = int(file["num_added"])
            leaves = [file[f"a{index}"] for index in range(len(file.files) - 1)]
        expected = [(self.num_segments, min(num_added, self.max_length), *array.shape[1:]) for array in self._arrays]
        if [leaf.shape for leaf in leaves] != expected:
            raise CheckpointError(
                f"the checkpoint holds arrays {[leaf.shape for leaf in leaves]}, but the replay buffer takes {expected}"
            )
        with self._lock:
            self._num_added = num_added
            rows = np.arange(num_added - self.length, num_added) % self.max_length
            rows = rows + np.arange(self.num_segments)[:, np.newaxis] * self.max_length
            for array, leaf in zip(self._arrays, leaves, strict=True):
                array[rows] = leaf
