"""Tests of StepArrays: what was written step by step is in the rollout's arrays afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distpolicy.utils.nests.array_nest import flatten, map_structure
from workers.collection.step_arrays import StepArrays

NUM_STEPS = 5


def written(shape: tuple[int, ...], dtype: Any, num_rows: int, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """The array of a rollout that was written step by step, and the one it should be."""
    rng = np.random.default_rng(0)
    expected = rng.integers(0, 2, (num_rows, NUM_STEPS, *shape)).astype(dtype)
    array = np.zeros_like(expected)
    arrays = StepArrays(array[rows])
    for t in range(NUM_STEPS):
        arrays.write(t, expected[rows, t])
    arrays.finish()
    return array, expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_, np.float16])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (4,), (2, 3), (17,), (0,), (20, 20, 3)])
def test_every_shape_and_dtype_arrives(shape: tuple[int, ...], dtype: Any) -> None:
    array, expected = written(shape, dtype, 6, slice(None))
    np.testing.assert_array_equal(array, expected)


def test_only_the_given_rows_are_written() -> None:
    array, expected = written((4,), np.float32, 6, slice(2, 5))
    np.testing.assert_array_equal(array[2:5], expected[2:5])
    assert not array[:2].any()
    assert not array[5:].any()


def test_bits_of_nan_stay_as_they_are() -> None:
    array = np.zeros((2, NUM_STEPS), np.float32)
    arrays = StepArrays(array)
    odd = np.array([0x7FC12345, 0xFF800001], np.uint32).view(np.float32)
    arrays.write(3, odd)
    arrays.finish()
    np.testing.assert_array_equal(array[:, 3].view(np.uint32), odd.view(np.uint32))


def test_leaves_of_a_nest_keep_their_places() -> None:
    nest = ({"b": np.zeros((3, NUM_STEPS, 2)), "a": np.zeros((3, NUM_STEPS), np.int32)}, np.zeros((3, NUM_STEPS)))
    arrays = StepArrays(nest)
    step = ({"a": np.arange(3, dtype=np.int32), "b": np.ones((3, 2))}, np.full(3, 7.0))
    for t in range(NUM_STEPS):
        arrays.write(t, step)
    arrays.finish()
    for leaf, expected in zip(flatten(nest), flatten(step), strict=True):
        for t in range(NUM_STEPS):
            np.testing.assert_array_equal(leaf[:, t], expected)


def test_a_step_may_be_overwritten_after_it_was_written() -> None:
    nest = {"small": np.zeros((2, NUM_STEPS, 2)), "large": np.zeros((2, NUM_STEPS, 100))}
    arrays = StepArrays(nest)
    step = map_structure(lambda leaf: np.ones((2, *leaf.shape[2:])), nest)
    arrays.write(0, step)
    map_structure(lambda leaf: leaf.fill(2.0), step)
    arrays.finish()
    assert (nest["small"][:, 0] == 1.0).all()
    assert (nest["large"][:, 0] == 1.0).all()
