"""The NumPy generator gives the TensorFlow one's numbers, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.utils.sampling import array_draws as array_sampling
from distpolicy.utils.sampling import tensor_draws as sampling

INT32 = st.integers(-(2**31), 2**31 - 1)


@settings(max_examples=30)
@given(st.lists(st.tuples(INT32, INT32), min_size=1, max_size=5), st.integers(1, 6))
def test_uniform_numbers_are_those_of_the_graph(seeds: list[tuple[int, int]], num: int) -> None:
    array = np.array(seeds, np.int32)
    expected = sampling.row_uniform(tf.constant(array), num).numpy()
    found = array_sampling.row_uniform(array, num)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=30)
@given(INT32, INT32, st.integers(1, 9))
def test_row_seeds_are_those_of_the_graph(high: int, low: int, num_rows: int) -> None:
    seed = np.array([high, low], np.int32)
    found = array_sampling.row_seeds(seed, num_rows)
    np.testing.assert_array_equal(found, sampling.row_seeds(tf.constant(seed), num_rows).numpy())
    np.testing.assert_array_equal(found, sampling.row_seeds(tf.constant(seed), tf.constant(num_rows)).numpy())
    assert len(np.unique(found, axis=0)) == num_rows


def test_rows_of_one_seed_draw_apart() -> None:
    seeds = array_sampling.row_seeds(np.array([1, 2], np.int32), 2000)
    numbers = array_sampling.row_uniform(seeds, 3)
    assert len(np.unique(numbers)) > 5900
    np.testing.assert_allclose(np.corrcoef(numbers.T), np.eye(3), atol=0.08)
    np.testing.assert_allclose(numbers.mean(axis=0), 0.5, atol=0.03)


def test_uniform_numbers_leave_out_both_ends() -> None:
    numbers = array_sampling.row_uniform(np.arange(200_000, dtype=np.int32).reshape(-1, 2), 20)
    assert numbers.min() > 0.0
    assert numbers.max() < 1.0
    # The ends of the range that the conversion to float32 can give.
    ends = np.array([0, 2**23 - 1], np.uint64).astype(np.float32) * np.float32(2.0**-23) + np.float32(2.0**-24)
    assert ends[0] > 0.0
    assert ends[1] < 1.0


def test_seeds_that_are_not_contiguous_draw_alike() -> None:
    wide = np.random.default_rng(0).integers(2**31, size=(4, 4), dtype=np.int32)
    np.testing.assert_array_equal(
        array_sampling.row_uniform(wide[:, 1:3], 2), array_sampling.row_uniform(wide[:, 1:3].copy(), 2)
    )


def test_a_noise_source_takes_the_generators_place() -> None:
    seed = tf.constant([[1, 2]])
    plain = sampling.row_uniform(seed, 3)
    asked = []

    def source(seed: tf.Tensor, num: int) -> tf.Tensor:
        asked.append((seed.numpy().tolist(), num))
        return tf.fill([1, num], 0.5)

    with sampling.noise_from(source):
        np.testing.assert_array_equal(sampling.row_uniform(seed, 3), [[0.5, 0.5, 0.5]])
    assert asked == [([[1, 2]], 3)]
    np.testing.assert_array_equal(sampling.row_uniform(seed, 3), plain)
    with pytest.raises(ZeroDivisionError), sampling.noise_from(source):
        raise ZeroDivisionError
    np.testing.assert_array_equal(sampling.row_uniform(seed, 3), plain)


def test_many_rows_draw_as_a_few_at_a_time() -> None:
    seeds = np.random.default_rng(0).integers(-(2**31), 2**31, (30_000, 2)).astype(np.int32)
    kept = seeds.copy()
    parts = [array_sampling.row_uniform(part, 3) for part in np.array_split(seeds, 300)]
    np.testing.assert_array_equal(array_sampling.row_uniform(seeds, 3), np.concatenate(parts))
    np.testing.assert_array_equal(seeds, kept)
    wide = array_sampling.row_uniform(seeds[:2], 20_000)
    np.testing.assert_array_equal(wide[1:], array_sampling.row_uniform(seeds[1:2], 20_000))
