from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.distributions.draws import sample
from distpolicy.distributions.masked import MaskedCategorical

LOGITS = tf.constant([[1.0, 2.0, 3.0], [0.5, 0.0, -0.5]])
MASK = tf.constant([[True, False, True], [False, True, True]])


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([-1e10, None]), st.sampled_from([np.float32, np.float64]))
def test_it_is_the_categorical_over_what_is_left(seed: int, neg_inf: float | None, dtype: Any) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=3.0, size=(4, 5)).astype(dtype)
    mask = generator.random((4, 5)) < 0.5
    mask[np.arange(4), generator.integers(0, 5, 4)] = True
    masked = MaskedCategorical(logits, mask, neg_inf=neg_inf)
    for row in range(4):
        kept = np.flatnonzero(mask[row])
        left = tfp.distributions.Categorical(logits=logits[row, kept])
        np.testing.assert_allclose(masked.entropy()[row], left.entropy(), rtol=1e-4, atol=1e-5)
        assert masked.mode()[row] == kept[left.mode()]
        for category in range(5):
            log_prob = masked.log_prob([category] * 4)[row]
            if mask[row, category]:
                np.testing.assert_allclose(log_prob, left.log_prob(list(kept).index(category)), rtol=1e-4, atol=1e-5)
            else:
                assert np.isfinite(log_prob)
                assert log_prob < -1e9
    assert masked.mask.dtype == tf.bool
    np.testing.assert_array_equal(masked.mask, mask)


@pytest.mark.parametrize("seed", [3, np.random.default_rng(0).integers(0, 2**31, (2, 2)).astype(np.int32)], ids=str)
def test_masked_categories_are_never_drawn(seed: Any) -> None:
    if isinstance(seed, int):
        drawn = MaskedCategorical(LOGITS, MASK).sample(1000, seed=seed).numpy()
        assert set(drawn[:, 0]) == {0, 2}
        assert set(drawn[:, 1]) == {1, 2}
        return
    rows = np.random.default_rng(0).integers(0, 2**31, (1000, 2)).astype(np.int32)
    masked = MaskedCategorical(tf.repeat(LOGITS, 500, axis=0), tf.repeat(MASK, 500, axis=0))
    drawn = sample(masked, tf.constant(rows)).numpy()
    assert set(drawn[:500]) == {0, 2}
    assert set(drawn[500:]) == {1, 2}
    # Row by row, from the row's own seed.
    order = np.random.default_rng(1).permutation(500)
    part = MaskedCategorical(tf.repeat(LOGITS[:1], 500, axis=0), tf.repeat(MASK[:1], 500, axis=0))
    np.testing.assert_array_equal(sample(part, tf.constant(rows[:500][order])), drawn[:500][order])


def test_row_without_any_category_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"row \[1\] of the mask is all 0"):
        MaskedCategorical(LOGITS, [[1, 0, 1], [0, 0, 0]])
    checked = tf.function(lambda mask: MaskedCategorical(LOGITS, mask, validate_args=True).log_prob([0, 1]))
    checked(MASK)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a row of the mask is all 0"):
        checked(tf.zeros_like(MASK))


def test_row_without_any_category_shows_in_an_unchecked_graph() -> None:
    @tf.function
    def figures(mask: Any) -> Any:
        masked = MaskedCategorical(LOGITS, mask)
        return masked.log_prob([0, 2]), masked.log_prob([1, 1]), masked.entropy(), masked.probs_parameter()

    first, second, entropy, probs = figures(tf.constant([[False, False, False], [True, True, True]]))
    assert first[0] == second[0] == np.float32(-1e10)
    np.testing.assert_allclose(first[1], tfp.distributions.Categorical(logits=LOGITS[1]).log_prob(2))
    assert entropy[0] == 0
    assert np.all(np.isfinite(probs))


def test_masks_may_be_numbers_and_are_broadcast() -> None:
    for mask in ([1, 0, 1], [1.0, 0.0, 1.0], np.array([True, False, True])):
        masked = MaskedCategorical(LOGITS, mask)
        assert masked.batch_shape == (2,)
        np.testing.assert_array_equal(masked.mode(), [2, 0])
    many = MaskedCategorical(LOGITS[0], MASK)
    assert many.batch_shape == (2,)
    np.testing.assert_array_equal(many.mode(), [2, 2])
    assert MaskedCategorical(LOGITS, MASK, dtype=tf.int64).sample().dtype == tf.int64


@pytest.mark.parametrize("neg_inf", [-1e10, None, -np.inf])
@pytest.mark.parametrize("dtype", [tf.float16, tf.float32])
def test_nothing_is_nan_whatever_the_masked_logit(neg_inf: float | None, dtype: tf.DType) -> None:
    logits = tf.cast(LOGITS, dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        masked = MaskedCategorical(logits, MASK, neg_inf=neg_inf)
        total = tf.reduce_sum(masked.entropy()) + tf.reduce_sum(masked.log_prob([0, 1]))
    gradient = tape.gradient(total, logits)
    assert np.all(np.isfinite(gradient))
    # What is masked has no part in the loss.
    np.testing.assert_array_equal(np.asarray(gradient)[~np.asarray(MASK)], 0)
    assert np.all(np.isfinite(masked.log_prob([1, 0])))


def test_probs_are_refused() -> None:
    with pytest.raises(ValueError, match="takes logits"):
        MaskedCategorical(LOGITS, MASK, probs=tf.nn.softmax(LOGITS))


def test_it_is_copied_sliced_and_returned_from_functions() -> None:
    masked = MaskedCategorical(LOGITS, MASK, name="masked")
    assert masked.name == "masked"
    np.testing.assert_array_equal(masked.copy(dtype=tf.int64).mask, MASK)
    assert masked[1].log_prob(0) < -1e9
    np.testing.assert_allclose(masked[1].entropy(), masked.entropy()[1])
    made = tf.function(MaskedCategorical)(LOGITS, MASK)
    assert isinstance(made, MaskedCategorical)
    np.testing.assert_array_equal(made.log_prob([2, 2]), masked.log_prob([2, 2]))
    assert made.entropy()[0] == masked.entropy()[0]


def test_it_compiles() -> None:
    call = tf.function(lambda logits, mask: MaskedCategorical(logits, mask).log_prob([0, 1]), jit_compile=True)
    np.testing.assert_allclose(call(LOGITS, MASK), MaskedCategorical(LOGITS, MASK).log_prob([0, 1]), rtol=1e-6)
