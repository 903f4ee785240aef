"""EpisodeStore: the newest episodes, each of any length, in NumPy arrays."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import CheckpointError


class _Episode:
    """The items of one episode. Its arrays double when they are full."""

    def __init__(self, episode_id: int, shapes: Sequence[Sequence[int]], dtypes: Sequence[Any]) -> None:
        self.id, self.completed, self.length = episode_id, False, 0
        self._arrays = [np.zeros((8, *shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]

    def extend(self, leaves: Sequence[np.ndarray]) -> None:
        num = len(leaves[0])
        for index, leaf in enumerate(leaves):
            array = self._arrays[index]
            if self.length + num > len(array):
                self._arrays[index] = np.zeros((max(2 * len(array), self.length + num), *array.shape[1:]), array.dtype)
                self._arrays[index][: self.length] = array[: self.length]
            self._arrays[index][self.length : self.length + num] = leaf
        self.length += num

    def read(self, start: int = 0, end: int | None = None) -> list[np.ndarray]:
        return [array[: self.length][start:end].copy() for array in self._arrays]


class EpisodeStore(tf.train.experimental.PythonState):
    """Keeps the last C episodes. A checkpoint holds them. All methods may be called from any thread.

    An episode's id says how many episodes began before. A new one takes the place of the episode with the id that is C
    smaller; what is added to that one later is dropped.

    Args:
        shapes: The shape of each array of an item.
        dtypes: The dtype of each.
        capacity: C.
    """

    def __init__(self, shapes: Sequence[Sequence[int]], dtypes: Sequence[Any], capacity: int) -> None:
        super().__init__()
        self._shapes, self._dtypes, self._capacity = shapes, dtypes, capacity
        self._episodes: dict[int, _Episode] = {}
        self._next_id = self._num_writes = 0
        self._lock = threading.Lock()

    @property
    def num_items(self) -> int:
        """The number of items in all episodes."""
        with self._lock:
            return sum(episode.length for episode in self._episodes.values())

    @property
    def num_writes(self) -> int:
        """The number of calls of :meth:`add`."""
        return self._num_writes

    def add(self, ids: np.ndarray, begin: np.ndarray, end: np.ndarray, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """Adds sequences of items, each to an episode.

        Args:
            ids: int64 ``[B]``, the episodes that items are added to; negative to begin one.
            begin: Bool ``[B]``, whether to begin a new one in any case.
            end: Bool ``[B]``, whether the episode is complete then.
            leaves: The arrays of the items ``[B, T, ...]``.

        Returns:
            int64 ``[B]``: the episodes' ids.
        """
        with self._lock:
            self._num_writes += 1
            ids = np.array([self._begin() if new else own for own, new in zip(ids, begin | (ids < 0), strict=True)])
            for row, episode_id in enumerate(ids):
                episode = self._episodes.get(int(episode_id))
                if episode is not None:
                    episode.completed |= bool(end[row])
                    episode.extend([leaf[row] for leaf in leaves])
            return ids.astype(np.int64)

    def clear(self) -> None:
        """Removes all episodes."""
        with self._lock:
            self._episodes.clear()
            self._next_id = 0

    def ids(self) -> list[int]:
        """Returns the episodes' ids, the oldest first."""
        with self._lock:
            return sorted(self._episodes)

    def read(self, episode_id: int) -> list[np.ndarray] | None:
        """Returns the arrays ``[T, ...]`` of an episode; None if it is not there anymore."""
        with self._lock:
            episode = self._episodes.get(episode_id)
            return None if episode is None else episode.read()

    def sample(
        self, draws: np.ndarray, num_steps: int | None, completed_only: bool
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Takes an episode, each with the same probability, or a sequence of one.

        A sequence's episode is chosen with a probability proportional to its length, and then the place in it.

        Args:
            draws: Random int64 ``[2]`` of at least 0.
            num_steps: T, the number of items of a sequence; None for a whole episode.
            completed_only: Whether only complete episodes count.

        Returns:
            The arrays ``[T, ...]``, and the episode's id, int64.

        Raises:
            ValueError: If no episode fits.
        """
        with self._lock:
            found = [self._episodes[key] for key in sorted(self._episodes)]
            fitting = [
                episode
                for episode in found
                if episode.length >= (num_steps or 1) and (episode.completed or not completed_only)
            ]
            if not fitting:
                kind = "complete episode" if completed_only else "episode"
                raise ValueError(
                    f"the replay buffer has {len(found)} episodes, but no {kind} of at least {num_steps or 1} steps"
                )
            if num_steps is None:
                episode = fitting[draws[0] % len(fitting)]
                return episode.read(), np.array(episode.id)
            ends = np.cumsum([episode.length for episode in fitting])
            episode = fitting[int(np.searchsorted(ends, draws[0] % ends[-1], side="right"))]
            start = int(draws[1] % (episode.length - num_steps + 1))
            return episode.read(start, start + num_steps), np.array(episode.id)

    def serialize(self) -> bytes:
        """Returns the episodes as a file of NumPy's."""
        with self._lock:
            episodes = [self._episodes[key] for key in sorted(self._episodes)]
            parts = {
                f"a{index}": np.concatenate([np.zeros((0, *shape), dtype), *(one.read()[index] for one in episodes)])
                for index, (shape, dtype) in enumerate(zip(self._shapes, self._dtypes, strict=True))
            }
            rows = [(episode.id, episode.length, episode.completed) for episode in episodes]
            file = io.BytesIO()
            np.savez(
                file,
                allow_pickle=False,
                next_id=self._next_id,
                num_writes=self._num_writes,
                episodes=np.array(rows, np.int64).reshape(-1, 3),
                **parts,
            )
            return file.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        """Takes the episodes that :meth:`serialize` returned.

        Raises:
            CheckpointError: If they belong to a buffer of another kind, or there are more than fit in.
        """
        with np.load(io.BytesIO(string_value), allow_pickle=False) as file:
            rows, next_id, num_writes = file["episodes"], int(file["next_id"]), int(file["num_writes"])
            leaves = [file[f"a{index}"] for index in range(len(file.files) - 3)]
        shapes = [leaf.shape[1:] for leaf in leaves]
        if shapes != [tuple(shape) for shape in self._shapes] or len(rows) > self._capacity:
            raise CheckpointError(
                f"the checkpoint holds {len(rows)} episodes of items {shapes}, but the replay buffer takes "
                f"{self._capacity} of items {[tuple(shape) for shape in self._shapes]}"
            )
        with self._lock:
            self._episodes, self._next_id, self._num_writes, start = {}, next_id, num_writes, 0
            for episode_id, length, completed in rows.tolist():
                episode = self._episodes[episode_id] = _Episode(episode_id, self._shapes, self._dtypes)
                episode.extend([leaf[start : start + length] for leaf in leaves])
                episode.completed = bool(completed)
                start += length

    def _begin(self) -> int:
        episode_id, self._next_id = self._next_id, self._next_id + 1
        self._episodes.pop(episode_id - self._capacity, None)
        self._episodes[episode_id] = _Episode(episode_id, self._shapes, self._dtypes)
        return episode_id
