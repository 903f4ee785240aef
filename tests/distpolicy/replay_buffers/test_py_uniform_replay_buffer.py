from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distpolicy.replay_buffers.py_uniform_replay_buffer import PyUniformReplayBuffer
from distpolicy.specs.array_spec import ArraySpec

SPEC = {"value": ArraySpec((2,), np.float32), "index": ArraySpec((), np.int64)}


def filled(num_adds: int, capacity: int = 5, seed: int | None = 0) -> PyUniformReplayBuffer:
    buffer = PyUniformReplayBuffer(SPEC, capacity, seed)
    for index in range(num_adds):
        buffer.add_batch({"value": np.full((1, 2), index, np.float32), "index": np.array([index])})
    return buffer


def test_the_last_items_are_kept() -> None:
    buffer = filled(7)
    assert buffer.size == buffer.num_frames() == buffer.capacity == 5
    everything = buffer.gather_all()
    np.testing.assert_array_equal(everything["index"], [[2, 3, 4, 5, 6]])
    np.testing.assert_array_equal(everything["value"][0, :, 1], [2, 3, 4, 5, 6])
    buffer.clear()
    assert buffer.size == 0


def test_samples_are_consecutive_items() -> None:
    buffer = filled(8)
    indices = buffer.get_next(200, 3)["index"]
    np.testing.assert_array_equal(indices, indices[:, :1] + np.arange(3))
    np.testing.assert_array_equal(np.unique(indices[:, 0]), [3, 4, 5])
    assert buffer.get_next()["value"].shape == (2,)
    assert buffer.get_next(num_steps=2)["value"].shape == (2, 2)
    first, second = buffer.get_next(4, 2, time_stacked=False)
    np.testing.assert_array_equal(second["index"], first["index"] + 1)
    np.testing.assert_array_equal(filled(8).get_next(9)["index"], filled(8).get_next(9)["index"])


@pytest.mark.parametrize(
    ("size", "num_steps", "outer"), [(None, None, []), (3, None, [3]), (None, 2, [2]), (3, 2, [3, 2])]
)
def test_a_dataset_gives_samples(size: Any, num_steps: Any, outer: list[int]) -> None:
    dataset = filled(5).as_dataset(size, num_steps)
    assert dataset.element_spec["value"].shape == [*outer, 2]
    for sample in dataset.take(2):
        np.testing.assert_array_equal(sample["value"][..., 0], sample["index"])


def test_what_it_cannot_do_is_said() -> None:
    buffer = filled(1)
    with pytest.raises(NotImplementedError, match="batches of 1"):
        buffer.add_batch({"value": np.zeros((2, 2), np.float32), "index": np.zeros(2, np.int64)})
    with pytest.raises(ValueError, match="float32"):
        buffer.add_batch({"value": np.zeros((1, 2)), "index": np.zeros(1, np.int64)})
    with pytest.raises(ValueError, match="too short"):
        buffer.get_next(num_steps=2)
    with pytest.raises(NotImplementedError):
        buffer.as_dataset(single_deterministic_pass=True)
    with pytest.raises(NotImplementedError):
        buffer.as_dataset(num_parallel_calls=2)
