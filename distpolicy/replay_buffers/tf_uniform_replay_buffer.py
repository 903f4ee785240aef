"""TFUniformReplayBuffer: a ring of steps for each environment, for compiled loops and tf.data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.replay_buffers.replay_buffer import ReplayBuffer
from distpolicy.replay_buffers.ring_store import RingStore
from distpolicy.specs import tensor_spec
from distpolicy.utils.nest_utils import assert_matches_spec
from distpolicy.utils.numpy_call import numpy_call


class BufferInfo(NamedTuple):
    """What is known of sampled items.

    Attributes:
        ids: int64, one for each item: how many were added to its environment's ring before.
        probabilities: float32 ``[N]``: the probability of each draw; ``()`` in a pass over all items.
    """

    ids: Any
    probabilities: Any


class TFUniformReplayBuffer(ReplayBuffer):
    """Keeps the last steps of each of B environments. All sequences of a sample have the same probability.

    ``tf.random.set_seed`` makes samples repeatable. ``tf.train.Checkpoint`` saves the items.

    Args:
        data_spec: Nest of tensor specs of one item, such as ``agent.collect_data_spec``.
        batch_size: B, the number of rows of each ``add_batch``.
        max_length: Number of items that are kept for each row.
        scope: Accepted for TF-Agents' callers, like ``device``, ``table_fn`` and ``stateful_dataset``: the items are in
            NumPy arrays.
        device: See ``scope``.
        table_fn: See ``scope``.
        dataset_drop_remainder: Whether a pass over all items leaves out what does not fill a batch or a sequence.
        dataset_window_shift: In a pass over all items, the number of steps from one sequence to the next; None for
            sequences that do not overlap.
        stateful_dataset: See ``scope``.
    """

    def __init__(
        self,
        data_spec: Any,
        batch_size: int,
        max_length: int = 1000,
        scope: str = "TFUniformReplayBuffer",
        device: str = "cpu:*",
        table_fn: Callable[..., Any] | None = None,
        dataset_drop_remainder: bool = False,
        dataset_window_shift: int | None = None,
        stateful_dataset: bool = False,
    ) -> None:
        batch_size, max_length = int(batch_size), int(max_length)
        for name, value in (("batch_size", batch_size), ("max_length", max_length)):
            if value < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {value}")
        super().__init__(data_spec, batch_size * max_length, stateful_dataset)
        object.__setattr__(self, "_item_spec", tensor_spec.from_spec(data_spec))
        self._specs = tf.nest.flatten(self._item_spec)
        shapes = [tuple(spec.shape.as_list()) for spec in self._specs]
        dtypes = [spec.dtype.as_numpy_dtype for spec in self._specs]
        self._store = RingStore(shapes, dtypes, batch_size, max_length)
        self._drop_remainder, self._window_shift = dataset_drop_remainder, dataset_window_shift

    @property
    def capacity(self) -> tf.Tensor:
        """The number of items that fit in, int64."""
        return tf.constant(self._capacity, tf.int64)

    def _num_frames(self) -> tf.Tensor:
        (count,) = numpy_call(lambda: [np.array(self._store.num_items)], [], [tf.TensorSpec((), tf.int64)])
        return count

    def _add_batch(self, items: Any) -> Any:
        assert_matches_spec(items, self._item_spec, "items", 1)
        leaves = tf.nest.flatten(items)
        for leaf in leaves:
            if leaf.shape[0] not in (None, self._store.num_segments):
                raise SpecMismatchError(
                    f"items must have {self._store.num_segments} rows, as batch_size says, but have {leaf.shape[0]}"
                )
        if tf.executing_eagerly():
            return self._store.add([np.asarray(leaf) for leaf in leaves])
        return tf.numpy_function(lambda *arrays: self._store.add(arrays), leaves, [])

    def _get_next(self, sample_batch_size: int | None, num_steps: int | None, time_stacked: bool) -> Any:
        length = 1 if num_steps is None else num_steps
        num_draws = 1 if sample_batch_size is None else sample_batch_size
        draws = tf.random.uniform([2, num_draws], maxval=tf.int64.max, dtype=tf.int64)

        def sample(draws: np.ndarray) -> list[np.ndarray]:
            leaves, ids, probability = self._store.sample(draws, length)
            return [*leaves, ids, np.full(len(ids), probability, np.float32)]

        size = tf.get_static_value(num_draws)
        info = [tf.TensorSpec([size, length], tf.int64), tf.TensorSpec([size], tf.float32)]
        *leaves, ids, probabilities = numpy_call(sample, [draws], [*self._with_outer([size, length]), *info])
        if num_steps is None:
            leaves, ids = [leaf[:, 0] for leaf in leaves], ids[:, 0]
        if sample_batch_size is None:
            leaves, ids, probabilities = [leaf[0] for leaf in leaves], ids[0], probabilities[0]
        if num_steps is None or time_stacked:
            return self._packed(leaves), BufferInfo(ids, probabilities)
        axis = 0 if sample_batch_size is None else 1
        columns = zip(*[tf.unstack(leaf, num_steps, axis) for leaf in leaves], strict=True)
        steps = tuple(self._packed(list(column)) for column in columns)
        return steps, BufferInfo(tuple(tf.unstack(ids, num_steps, axis)), probabilities)

    def _with_outer(self, outer: Iterable[int | None]) -> list[tf.TensorSpec]:
        return [tf.TensorSpec([*outer, *spec.shape], spec.dtype) for spec in self._specs]

    def _packed(self, leaves: list[tf.Tensor]) -> Any:
        return tf.nest.pack_sequence_as(self._data_spec, leaves)

    def _as_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        return tf.data.Dataset.counter().map(
            lambda _: self._get_next(sample_batch_size, num_steps, True), num_parallel_calls=num_parallel_calls
        )

    def _single_deterministic_pass_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        if self._drop_remainder:
            for name, size, limit in (
                ("sample_batch_size", sample_batch_size, self._store.num_segments),
                ("num_steps", num_steps, self._store.max_length),
            ):
                if size is not None and size > limit:
                    raise ConfigError(f"dataset_drop_remainder leaves out all items: {name} {size} is above {limit}")
        known = self._drop_remainder
        outer = [] if sample_batch_size is None else [sample_batch_size if known else None]
        # A batch of sequences has to be rectangular, so its sequences are always whole.
        outer += [] if num_steps is None else [num_steps if known or sample_batch_size is not None else None]
        spec = tf.TensorSpec(outer, tf.int64)
        places = tf.data.Dataset.from_generator(
            lambda: self._places(sample_batch_size, num_steps), output_signature=(spec, spec)
        )

        def read(ids: tf.Tensor, segments: tf.Tensor) -> Any:
            leaves = numpy_call(self._store.read, [ids, segments], self._with_outer(ids.shape))
            return self._packed(leaves), BufferInfo(ids, ())

        return places.map(read, num_parallel_calls=num_parallel_calls)

    def _places(self, sample_batch_size: int | None, num_steps: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields ids and segments of the elements of a pass: segment by segment, or batch by batch of segments."""
        first, end = self._store.valid_ids()
        if first == end:
            raise ValueError("the replay buffer is empty")
        size = 1 if sample_batch_size is None else sample_batch_size
        whole = self._drop_remainder or sample_batch_size is not None
        for begin in range(0, self._store.num_segments, size):
            segments = np.arange(begin, min(begin + size, self._store.num_segments))
            if self._drop_remainder and len(segments) < size:
                return
            step = 1 if num_steps is None else self._window_shift or num_steps
            for start in range(first, end, step):
                ids = np.arange(start, min(start + (num_steps or 1), end))
                if num_steps is not None and whole and len(ids) < num_steps:
                    break
                place: list[Any] = list(np.broadcast_arrays(ids, segments[:, np.newaxis]))
                if num_steps is None:
                    place = [part[:, 0] for part in place]
                if sample_batch_size is None:
                    place = [part[0] for part in place]
                yield place[0], place[1]

    def _gather_all(self) -> Any:
        def gather() -> list[np.ndarray]:
            ids = np.arange(*self._store.valid_ids())
            return self._store.read(ids, np.arange(self._store.num_segments)[:, np.newaxis])

        return self._packed(numpy_call(gather, [], self._with_outer([self._store.num_segments, None])))

    def _clear(self) -> Any:
        if tf.executing_eagerly():
            return self._store.clear()
        return tf.numpy_function(self._store.clear, [], [])
