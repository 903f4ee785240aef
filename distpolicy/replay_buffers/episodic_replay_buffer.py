"""EpisodicReplayBuffer: whole episodes of any length, for compiled loops and tf.data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.replay_buffers.episode_store import EpisodeStore
from distpolicy.replay_buffers.replay_buffer import ReplayBuffer
from distpolicy.specs import tensor_spec
from distpolicy.utils.nest_utils import assert_matches_spec
from distpolicy.utils.numpy_call import numpy_call


class BufferInfo(NamedTuple):
    """What is known of a sample.

    Attributes:
        ids: int64, the id of each sample's episode.
    """

    ids: Any


class EpisodicReplayBuffer(ReplayBuffer):
    """Keeps the last episodes. Callers keep the ids of the episodes that they add to.

    :class:`StatefulEpisodicReplayBuffer` keeps the ids itself and is an observer of drivers. ``tf.train.Checkpoint``
    saves the episodes.

    Args:
        data_spec: Nest of tensor specs of one item, such as ``agent.collect_data_spec``.
        capacity: Number of episodes that are kept.
        completed_only: Whether samples are of complete episodes only.
        buffer_size: Accepted for TF-Agents' callers, like ``device``: episodes are in NumPy arrays, and each sample
            sees the newest.
        name_prefix: Name of the buffer.
        device: See ``buffer_size``.
        seed: Seed of the draws in graphs and datasets; see ``tf.random.set_seed``.
        begin_episode_fn: Function from items ``[B, ...]`` to bools ``[B]`` or a scalar: whether an item begins an
            episode. None for ``is_first()``.
        end_episode_fn: The same for the end of an episode. None for ``is_last()``.
        dataset_drop_remainder: Whether a pass over all items leaves out sequences that are too short, and what does not
            fill a batch.
        dataset_window_shift: In a pass over all items, the number of steps from one sequence to the next; None for
            sequences that do not overlap.

    Raises:
        ValueError: If ``capacity`` is not positive.
        TypeError: If a function cannot be called.
    """

    def __init__(
        self,
        data_spec: Any,
        capacity: int = 1000,
        completed_only: bool = False,
        buffer_size: int = 8,
        name_prefix: str = "EpisodicReplayBuffer",
        device: str = "cpu:*",
        seed: int | None = None,
        begin_episode_fn: Callable[[Any], Any] | None = None,
        end_episode_fn: Callable[[Any], Any] | None = None,
        dataset_drop_remainder: bool = False,
        dataset_window_shift: int | None = None,
    ) -> None:
        if capacity < 1:
            raise ConfigError(f"capacity must be 1 or more, but is {capacity}")
        super().__init__(data_spec, capacity, stateful_dataset=True)
        for name, function in (("begin_episode_fn", begin_episode_fn), ("end_episode_fn", end_episode_fn)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function, not {function!r}")
        self._begin = begin_episode_fn or (lambda items: items.is_first())
        self._end = end_episode_fn or (lambda items: items.is_last())
        object.__setattr__(self, "_item_spec", tensor_spec.from_spec(data_spec))
        self._specs = tf.nest.flatten(self._item_spec)
        shapes = [tuple(spec.shape.as_list()) for spec in self._specs]
        self._store = EpisodeStore(shapes, [spec.dtype.as_numpy_dtype for spec in self._specs], capacity)
        self._completed_only, self._name_prefix, self._seed = completed_only, name_prefix, seed
        self._drop_remainder, self._window_shift = dataset_drop_remainder, dataset_window_shift

    @property
    def num_writes(self) -> tf.Tensor:
        """The number of calls of :meth:`add_batch` and :meth:`add_sequence`, int64."""
        return self._number(lambda: self._store.num_writes)

    @property
    def name_prefix(self) -> str:
        """The constructor's argument."""
        return self._name_prefix

    def create_episode_ids(self, num_episodes: Any = None) -> tf.Tensor:
        """Returns ids of episodes that begin when something is added to them.

        Args:
            num_episodes: B, their number, a number or a scalar tensor; None for one without a batch dimension.

        Returns:
            int64 ``[B]`` or a scalar.

        Raises:
            ValueError: If there are more than ``capacity``.
        """
        if num_episodes is None:
            return tf.constant(-1, tf.int64)
        known = tf.get_static_value(num_episodes)
        if known is not None and known > self._capacity:
            raise ConfigError(f"{known} episodes at the same time do not fit in; the capacity is {self._capacity}")
        return tf.fill([num_episodes], tf.constant(-1, tf.int64))

    def add_batch(self, items: Any, episode_ids: Any) -> tf.Tensor:  # type: ignore[override]
        """Adds an item to each of several episodes.

        Args:
            items: Nest like ``data_spec``, each ``[B, ...]``.
            episode_ids: int64 ``[B]``: what :meth:`create_episode_ids` or the last call returned.

        Returns:
            The ids for the next call, int64 ``[B]``.

        Raises:
            ValueError: If the items do not match the specs.
        """
        assert_matches_spec(items, self._item_spec, "items", 1)
        sequences = [leaf[:, tf.newaxis] for leaf in tf.nest.flatten(items)]
        return self._add(episode_ids, self._begin(items), self._end(items), sequences)

    def add_sequence(self, items: Any, episode_id: Any) -> tf.Tensor:
        """Adds consecutive items to an episode.

        Args:
            items: Nest like ``data_spec``, each ``[T, ...]``. The first item tells whether they begin an episode, and
                any item whether it is complete with them.
            episode_id: int64 scalar: what :meth:`create_episode_ids` or the last call returned.

        Returns:
            The id for the next call, int64 scalar.

        Raises:
            ValueError: If the items do not match the specs.
        """
        items = tf.nest.map_structure(lambda leaf, spec: tf.convert_to_tensor(leaf, spec.dtype), items, self._item_spec)
        assert_matches_spec(items, self._item_spec, "items", 1)
        begin = tf.reshape(self._begin(items), [-1])[:1]
        end = tf.reduce_any(self._end(items))[tf.newaxis]
        sequences = [leaf[tf.newaxis] for leaf in tf.nest.flatten(items)]
        return self._add(tf.convert_to_tensor(episode_id)[tf.newaxis], begin, end, sequences)[0]

    def _add(self, episode_ids: Any, begin: Any, end: Any, sequences: list[tf.Tensor]) -> tf.Tensor:
        ids = tf.convert_to_tensor(episode_ids, tf.int64)
        begin, end = (tf.broadcast_to(flags, tf.shape(ids)) for flags in (begin, end))
        spec = tf.TensorSpec(ids.shape, tf.int64)

        def add(ids: np.ndarray, begin: np.ndarray, end: np.ndarray, *leaves: np.ndarray) -> list[np.ndarray]:
            return [self._store.add(ids, begin, end, leaves)]

        return numpy_call(add, [ids, begin, end, *sequences], [spec])[0]

    def _add_batch(self, items: Any) -> Any:
        raise NotImplementedError

    def _num_frames(self) -> tf.Tensor:
        return self._number(lambda: self._store.num_items)

    def _get_next(self, sample_batch_size: int | None, num_steps: int | None, time_stacked: bool) -> Any:
        """Returns a whole episode and its info, whatever the arguments, as in TF-Agents."""
        return self._sample(None)

    def _sample(self, num_steps: int | None) -> Any:
        draws = tf.random.uniform([2], maxval=tf.int64.max, dtype=tf.int64, seed=self._seed)

        def sample(draws: np.ndarray) -> list[np.ndarray]:
            leaves, episode_id = self._store.sample(draws, num_steps, self._completed_only)
            return [*leaves, episode_id]

        specs = [*self._with_outer(num_steps), tf.TensorSpec((), tf.int64)]
        *leaves, episode_id = numpy_call(sample, [draws], specs)
        return tf.nest.pack_sequence_as(self._data_spec, leaves), BufferInfo(episode_id)

    def _as_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        _check_batch(sample_batch_size, num_steps)

        def sample(_: tf.Tensor) -> tuple[Any, tf.Tensor]:
            items, info = self._sample(num_steps)
            # The id alone, as in TF-Agents' datasets.
            return items, info.ids

        samples = tf.data.Dataset.counter().map(sample, num_parallel_calls=num_parallel_calls)
        return samples if sample_batch_size is None else samples.batch(sample_batch_size, drop_remainder=True)

    def _single_deterministic_pass_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        _check_batch(sample_batch_size, num_steps)
        whole = self._drop_remainder or sample_batch_size is not None
        # A dataset's elements are tuples of leaves here, since a generator cannot yield every kind of nest.
        parts = tf.data.Dataset.from_generator(
            lambda: self._parts(num_steps, whole),
            output_signature=tuple(self._with_outer(num_steps if whole else None)),
        )
        items = parts.map(lambda *leaves: tf.nest.pack_sequence_as(self._data_spec, leaves))
        return items if sample_batch_size is None else items.batch(sample_batch_size, self._drop_remainder)

    def _parts(self, num_steps: int | None, whole: bool) -> Iterator[tuple[np.ndarray, ...]]:
        for episode_id in self._store.ids():
            leaves = self._store.read(episode_id)
            if leaves is None or not len(leaves[0]):
                continue
            if num_steps is None:
                yield tuple(leaves)
                continue
            for start in range(0, len(leaves[0]), self._window_shift or num_steps):
                part = tuple(leaf[start : start + num_steps] for leaf in leaves)
                if not whole or len(part[0]) == num_steps:
                    yield part

    def _gather_all(self) -> Any:
        def gather() -> list[np.ndarray]:
            found = [leaves for leaves in map(self._store.read, self._store.ids()) if leaves is not None]
            empty = [np.zeros((0, *spec.shape), spec.dtype.as_numpy_dtype) for spec in self._specs]
            return [np.concatenate(parts)[np.newaxis] for parts in zip(empty, *found, strict=True)]

        specs = [tf.TensorSpec([1, None, *spec.shape], spec.dtype) for spec in self._specs]
        return tf.nest.pack_sequence_as(self._data_spec, numpy_call(gather, [], specs))

    def _clear(self) -> Any:
        if tf.executing_eagerly():
            return self._store.clear()
        return tf.numpy_function(self._store.clear, [], [])

    def _with_outer(self, length: int | None) -> list[tf.TensorSpec]:
        return [tf.TensorSpec([length, *spec.shape], spec.dtype) for spec in self._specs]

    def _number(self, count: Callable[[], int]) -> tf.Tensor:
        return numpy_call(lambda: [np.array(count())], [], [tf.TensorSpec((), tf.int64)])[0]


class StatefulEpisodicReplayBuffer(ReplayBuffer):
    """An :class:`EpisodicReplayBuffer` that keeps the ids of the current episodes, as an observer of a driver.

    Args:
        replay_buffer: The buffer.
        num_episodes: Number of episodes at the same time, such as the environment's batch size; None for one, which
            takes sequences only.

    Raises:
        TypeError: If ``replay_buffer`` is of another kind.
        ValueError: If there are more episodes than the buffer's capacity.
    """

    def __init__(self, replay_buffer: EpisodicReplayBuffer, num_episodes: int | None = None) -> None:
        if not isinstance(replay_buffer, EpisodicReplayBuffer):
            raise TypeError(f"replay_buffer must be an EpisodicReplayBuffer, not {replay_buffer!r}")
        super().__init__(replay_buffer.data_spec, replay_buffer.capacity)
        self._replay_buffer = replay_buffer
        self._episode_ids = tf.Variable(
            replay_buffer.create_episode_ids(num_episodes or None), trainable=False, name="episode_id"
        )

    @property
    def episode_ids(self) -> tf.Variable:
        """The ids of the current episodes."""
        return self._episode_ids

    def add_batch(self, items: Any) -> tf.Tensor:
        """Adds an item ``[B, ...]`` to each current episode. Returns the ids, int64 ``[B]``."""
        return self._updated(self._replay_buffer.add_batch(items, self._episode_ids))

    def add_sequence(self, items: Any) -> tf.Tensor:
        """Adds consecutive items ``[T, ...]`` to the current episode. Returns its id, int64 scalar."""
        return self._updated(self._replay_buffer.add_sequence(items, self._episode_ids))

    def _updated(self, ids: tf.Tensor) -> tf.Tensor:
        self._episode_ids.assign(ids)
        return ids

    def _add_batch(self, items: Any) -> Any:
        raise NotImplementedError

    def _num_frames(self) -> tf.Tensor:
        return self._replay_buffer.num_frames()

    def _get_next(self, sample_batch_size: int | None, num_steps: int | None, time_stacked: bool) -> Any:
        return self._replay_buffer.get_next(sample_batch_size, num_steps, time_stacked)

    def _as_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        return self._replay_buffer.as_dataset(sample_batch_size, num_steps, num_parallel_calls)

    def _single_deterministic_pass_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        return self._replay_buffer.as_dataset(
            sample_batch_size, num_steps, num_parallel_calls, single_deterministic_pass=True
        )

    def _gather_all(self) -> Any:
        return self._replay_buffer.gather_all()

    def _clear(self) -> Any:
        self._episode_ids.assign(tf.fill(tf.shape(self._episode_ids), tf.constant(-1, tf.int64)))
        return self._replay_buffer.clear()


def _check_batch(sample_batch_size: int | None, num_steps: int | None) -> None:
    if sample_batch_size is not None and num_steps is None:
        raise ConfigError("episodes have different lengths: give num_steps with sample_batch_size")
