from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.specs.array_spec import ArraySpec
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer

DATA = np.random.default_rng(0).normal([1000.0, -3.0], [0.1, 5.0], size=(40, 2))
KEPT = np.random.default_rng(1).random(40) < 0.6


def normalizer(shape: tuple[int, ...] = (2,)) -> StreamingTensorNormalizer:
    return StreamingTensorNormalizer(ArraySpec(shape, np.float32))


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 39), max_size=6, unique=True), masked=st.booleans())
def test_any_split_into_batches_gives_the_statistics_of_the_whole(cuts: list[int], masked: bool) -> None:
    made = normalizer()
    for rows in np.split(np.arange(40), sorted(cuts)):
        made.update(tf.constant(DATA[rows]), tf.constant(KEPT[rows].astype(np.float32)) if masked else None)
    seen = DATA[KEPT] if masked else DATA
    assert made.count.numpy() == len(seen)
    np.testing.assert_allclose(made.mean, seen.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(made.variance(), seen.var(axis=0), rtol=1e-9)


def test_masked_values_count_for_nothing() -> None:
    made = normalizer()
    made.update(tf.constant(DATA))
    before = [variable.numpy() for variable in made.variables]
    made.update(tf.constant(DATA * 1e6), tf.zeros([40]))
    for variable, value in zip(made.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("outer", [(40,), (8, 5), (2, 4, 5)])
def test_all_outer_dimensions_are_batches(outer: tuple[int, ...]) -> None:
    made, scalar = normalizer(), normalizer(())
    made.update(tf.constant(DATA.reshape(*outer, 2)), tf.constant(KEPT.reshape(outer)))
    np.testing.assert_allclose(made.mean, DATA[KEPT].mean(axis=0), rtol=1e-12)
    scalar.update(tf.constant(DATA[:, 1].reshape(outer)))
    np.testing.assert_allclose(scalar.variance(), DATA[:, 1].var(), rtol=1e-12)
    single = normalizer()
    single.update(tf.constant(DATA[0]))
    np.testing.assert_array_equal(single.mean, DATA[0])


def test_values_stay_as_they_are_before_the_first_update() -> None:
    values = np.array([[0.5, -2.0], [9.0, 3.0]], np.float32)
    made = normalizer()
    np.testing.assert_array_equal(made.normalize(tf.constant(values)), values)
    np.testing.assert_array_equal(made.variance(), [1.0, 1.0])
    made.update(tf.constant([[1.0, 1.0]]))
    # One value has no spread.
    np.testing.assert_array_equal(made.variance(), [1.0, 1.0])


def test_normalised_values_have_mean_0_and_variance_1() -> None:
    made = normalizer()
    made.update(tf.constant(DATA))
    normalized = made.normalize(tf.constant(DATA)).numpy()
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized, (DATA - DATA.mean(axis=0)) / DATA.std(axis=0), rtol=1e-3, atol=2e-3)
    uncentred = made.normalize(tf.constant(DATA), clip_value=0.0, center_mean=False)
    np.testing.assert_allclose(uncentred, DATA / DATA.std(axis=0), rtol=1e-3)


def test_results_are_clipped_unless_the_bound_is_zero() -> None:
    made = normalizer(())
    made.update(tf.constant([-1.0, 1.0]))
    values = tf.constant([-100.0, 3.0, 100.0])
    np.testing.assert_allclose(made.normalize(values), [-10.0, 3.0, 10.0], rtol=1e-5)
    np.testing.assert_allclose(made.normalize(values, clip_value=5.0), [-5.0, 3.0, 5.0], rtol=1e-5)
    np.testing.assert_allclose(made.normalize(values, clip_value=0.0), [-100.0, 3.0, 100.0], rtol=1e-5)


def test_bytes_are_normalised_too() -> None:
    made = StreamingTensorNormalizer(ArraySpec((2,), np.uint8))
    values = np.array([[0, 255], [10, 250]], np.uint8)
    made.update(tf.constant(values))
    np.testing.assert_allclose(made.mean, [5.0, 252.5])
    np.testing.assert_allclose(made.normalize(tf.constant(values)), [[-1, 1], [1, -1]], rtol=1e-5)


def test_statistics_are_not_trainable() -> None:
    assert len(normalizer().variables) == 3
    assert normalizer().trainable_variables == ()
