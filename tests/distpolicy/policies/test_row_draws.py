from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import seeds

from distpolicy.policies.row_draws import normal_like, seeds_of_rows, stream_seed, uniform_rows, where_rows
from distpolicy.specs import tensor_spec


def test_streams_of_one_seed_differ_and_the_first_is_the_seed() -> None:
    rows = seeds(200)
    assert stream_seed(rows, 0) is rows
    assert stream_seed(None, 3) is None
    drawn = np.stack([uniform_rows(stream_seed(rows, stream), tf.constant([200])) for stream in range(4)])
    correlation = np.corrcoef(drawn)
    assert np.abs(correlation - np.eye(4)).max() < 0.25


@pytest.mark.parametrize("outer", [(), (5,), (5, 3)])
def test_one_seed_gives_every_row_its_own(outer: tuple[int, ...]) -> None:
    rows = seeds_of_rows(tf.constant([1, 2]), tf.constant(outer, tf.int32))
    assert rows.shape == (int(np.prod(outer)), 2)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_steps_of_a_row_depend_on_its_seed_alone() -> None:
    given = seeds(4)
    rows = tf.reshape(seeds_of_rows(given, tf.constant([4, 3])), [4, 3, 2])
    one = tf.reshape(seeds_of_rows(given[2:3], tf.constant([1, 3])), [1, 3, 2])
    np.testing.assert_array_equal(rows[2:3], one)
    assert len(np.unique(np.reshape(rows, (-1, 2)), axis=0)) == 12


def test_no_seed_gives_new_ones_each_time() -> None:
    first, second = (seeds_of_rows(None, tf.constant([50])) for _ in range(2))
    assert not np.array_equal(first, second)
    assert len(np.unique(first, axis=0)) == 50


def test_normal_numbers_have_the_spec_s_shape_and_dtype() -> None:
    drawn = normal_like(seeds(4000), tf.constant([4000]), tensor_spec.TensorSpec((2, 3), tf.float64))
    assert drawn.dtype == tf.float64
    assert drawn.shape == (4000, 2, 3)
    assert abs(float(np.mean(drawn))) < 0.05
    assert abs(float(np.std(drawn)) - 1.0) < 0.05
    assert np.abs(np.corrcoef(np.reshape(drawn, (4000, 6)).T) - np.eye(6)).max() < 0.1


def test_rows_are_chosen_whatever_their_shape() -> None:
    condition = tf.constant([True, False])
    ones = {"a": tf.ones([2, 3]), "b": [tf.ones([2], tf.int32)]}
    chosen = where_rows(condition, ones, tf.nest.map_structure(tf.zeros_like, ones))
    np.testing.assert_array_equal(chosen["a"], [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(chosen["b"][0], [1, 0])
