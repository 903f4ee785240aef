from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils import common


@pytest.mark.parametrize("outer", [[], (), [2], [2, 1], np.array([2, 3]), tf.constant([4]), tf.constant([2], tf.int64)])
@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
def test_tensor_is_repeated_along_new_dimensions(outer: Any, kind: Any) -> None:
    value = np.arange(6).reshape(2, 3)
    expected = np.broadcast_to(value, (*np.asarray(outer, int), 2, 3))
    np.testing.assert_array_equal(common.replicate(kind(value), outer), expected)
    assert common.replicate(kind(value), outer).dtype == value.dtype


@pytest.mark.parametrize("wrong", [2, [[2]], tf.constant(2)], ids=repr)
def test_outer_shape_that_is_no_vector_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="outer_shape must be 1-D"):
        common.replicate(tf.constant(3.0), wrong)


@pytest.mark.parametrize("outer", [(), (4,), (4, 5)])
def test_values_of_actions_are_picked(outer: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(*outer, 3)).astype(np.float32)
    actions = generator.integers(0, 3, outer)
    expected = np.take_along_axis(values, actions[..., None], axis=-1)[..., 0]
    np.testing.assert_array_equal(common.index_with_actions(values, actions), expected)
    grid = generator.normal(size=(*outer, 3, 2)).astype(np.float32)
    pair = np.stack([actions, generator.integers(0, 2, outer)], axis=-1)
    expected = np.array([grid[index][tuple(pair[index])] for index in np.ndindex(outer)]).reshape(outer)
    np.testing.assert_array_equal(common.index_with_actions(grid, pair, multi_dim_actions=True), expected)


def test_episode_mask_is_zero_at_last() -> None:
    for kind in (np.asarray, tf.constant):
        mask = common.get_episode_mask(TimeStep(kind([[0, 1, 2]]), (), (), ()))
        np.testing.assert_array_equal(mask, [[1, 1, 0]])
        assert mask.dtype == tf.float32


def test_batch_and_time_change_places() -> None:
    value = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(common.transpose_batch_time(value), value.transpose(1, 0, 2))
    np.testing.assert_array_equal(common.transpose_batch_time(value[0, 0]), value[0, 0])


def test_losses_are_taken_element_by_element() -> None:
    difference = np.array([[-3.0, -1.0, 0.0], [0.5, 1.0, 2.0]], np.float32)
    other = np.full_like(difference, 7.0)
    np.testing.assert_allclose(common.element_wise_squared_loss(other + difference, other), difference**2)
    expected = np.where(np.abs(difference) <= 1, difference**2 / 2, np.abs(difference) - 0.5)
    np.testing.assert_allclose(common.element_wise_huber_loss(other + difference, other), expected)
