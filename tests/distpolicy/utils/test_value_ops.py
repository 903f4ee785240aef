from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.utils.value_ops import discounted_return, generalized_advantage_estimation

RNG = np.random.default_rng(7)
REWARDS, DISCOUNTS, VALUES = (RNG.uniform(size=(5, 3)).astype(np.float32) for _ in range(3))
FINAL = RNG.uniform(size=3).astype(np.float32)


def returns(final: np.ndarray) -> np.ndarray:
    found, later = np.zeros_like(REWARDS), final
    for step in reversed(range(len(REWARDS))):
        later = found[step] = REWARDS[step] + DISCOUNTS[step] * later
    return found


@pytest.mark.parametrize("final", [None, FINAL])
def test_returns_in_both_orders_of_dimensions(final: np.ndarray | None) -> None:
    expected = returns(np.zeros(3, np.float32) if final is None else final)
    np.testing.assert_allclose(discounted_return(REWARDS, DISCOUNTS, final), expected, rtol=1e-5)
    turned = discounted_return(REWARDS.T, DISCOUNTS.T, final, time_major=False)
    np.testing.assert_allclose(turned, expected.T, rtol=1e-5)
    for arrays, time_major in (((REWARDS, DISCOUNTS), True), ((REWARDS.T, DISCOUNTS.T), False)):
        first = discounted_return(*arrays, final, time_major, provide_all_returns=False)
        np.testing.assert_allclose(first, expected[0], rtol=1e-5)


def test_returns_without_a_batch() -> None:
    expected = returns(FINAL)[:, 1]
    for final in (FINAL[1], FINAL[1:2]):
        np.testing.assert_allclose(discounted_return(REWARDS[:, 1], DISCOUNTS[:, 1], final), expected, rtol=1e-5)
        one = discounted_return(REWARDS[:, 1], DISCOUNTS[:, 1], final, provide_all_returns=False)
        assert one.shape == ()
        np.testing.assert_allclose(one, expected[0], rtol=1e-5)


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_advantages_in_both_orders_of_dimensions(lambda_: float) -> None:
    following = np.concatenate([VALUES[1:], FINAL[None]])
    delta = REWARDS + DISCOUNTS * following - VALUES
    expected, later = np.zeros_like(delta), np.zeros(3, np.float32)
    for step in reversed(range(5)):
        later = expected[step] = delta[step] + lambda_ * DISCOUNTS[step] * later
    found = generalized_advantage_estimation(VALUES, FINAL, DISCOUNTS, REWARDS, lambda_)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    turned = generalized_advantage_estimation(VALUES.T, FINAL, DISCOUNTS.T, REWARDS.T, lambda_, time_major=False)
    np.testing.assert_allclose(turned, expected.T, rtol=1e-4, atol=1e-6)
    if lambda_ == 1.0:
        np.testing.assert_allclose(found, returns(FINAL) - VALUES, rtol=1e-4, atol=1e-5)


def test_no_gradient_passes_and_shapes_are_checked() -> None:
    values = tf.Variable(VALUES)
    with tf.GradientTape() as tape:
        advantages = generalized_advantage_estimation(values, FINAL, DISCOUNTS, REWARDS)
        total = tf.reduce_sum(advantages) + tf.reduce_sum(discounted_return(values, DISCOUNTS))
    assert tape.gradient(total, values) is None
    with pytest.raises(ValueError, match=r"rewards .* and discounts"):
        discounted_return(REWARDS, DISCOUNTS.T)
