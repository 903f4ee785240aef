"""PyUniformReplayBuffer: a ring of steps of one environment, in and out as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.replay_buffers.replay_buffer import ReplayBuffer
from distpolicy.replay_buffers.ring_store import RingStore
from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import add_outer_dims_nest, assert_arrays_spec_nest
from distpolicy.utils.nests.array_nest import flatten, map_structure, pack_leaves


class PyUniformReplayBuffer(ReplayBuffer):
    """Keeps the last items. All sequences of a sample have the same probability. Any thread may use it.

    Args:
        data_spec: Nest of array specs of one item.
        capacity: Number of items that fit in.
        seed: Seed of the draws; None for one from the system.
    """

    def __init__(self, data_spec: Any, capacity: int, seed: int | None = None) -> None:
        super().__init__(tensor_spec.to_nest_array_spec(data_spec), int(capacity))
        specs = flatten(self._data_spec)
        self._store = RingStore([spec.shape for spec in specs], [spec.dtype for spec in specs], 1, self._capacity)
        self._row_spec = add_outer_dims_nest(self._data_spec, (1,))
        object.__setattr__(self, "_random", np.random.default_rng(seed))

    @property
    def size(self) -> int:
        """The number of items."""
        return self._store.num_items

    def _num_frames(self) -> int:
        return self._store.num_items

    def _add_batch(self, items: Any) -> None:
        items = map_structure(np.asarray, items)
        if len(flatten(items)[0]) != 1:
            raise NotImplementedError(f"add_batch takes batches of 1, not of {len(flatten(items)[0])}")
        assert_arrays_spec_nest(items, self._row_spec)
        self._store.add(flatten(items))

    def _get_next(self, sample_batch_size: int | None, num_steps: int | None, time_stacked: bool) -> Any:
        draws = self._random.integers(np.iinfo(np.int64).max, size=(2, sample_batch_size or 1))
        leaves, _, _ = self._store.sample(draws, num_steps or 1)
        if num_steps is None:
            leaves = [leaf[:, 0] for leaf in leaves]
        if sample_batch_size is None:
            leaves = [leaf[0] for leaf in leaves]
        if num_steps is None or time_stacked:
            return pack_leaves(self._data_spec, leaves)
        axis = 0 if sample_batch_size is None else 1
        return [pack_leaves(self._data_spec, [leaf.take(i, axis) for leaf in leaves]) for i in range(num_steps)]

    def _as_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        if num_parallel_calls is not None:
            raise NotImplementedError("num_parallel_calls must be None: samples are made in turn")
        outer: list[int | None] = [size for size in (sample_batch_size, num_steps) if size is not None]
        spec = tensor_spec.add_outer_dims_nest(tensor_spec.from_spec(self._data_spec), outer)

        def samples() -> Any:
            while True:
                yield tuple(flatten(self._get_next(sample_batch_size, num_steps, True)))

        flat = tf.data.Dataset.from_generator(samples, output_signature=tuple(tf.nest.flatten(spec)))
        return flat.map(lambda *leaves: tf.nest.pack_sequence_as(self._data_spec, leaves))

    def _single_deterministic_pass_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        raise NotImplementedError("PyUniformReplayBuffer has no single_deterministic_pass; use gather_all()")

    def _gather_all(self) -> Any:
        leaves = self._store.read(np.arange(*self._store.valid_ids())[np.newaxis], np.zeros(1, np.int64))
        return pack_leaves(self._data_spec, leaves)

    def _clear(self) -> None:
        self._store.clear()
