from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.batch_statistics import explained_variance, minibatch_statistics

SHAPE = (5, 7)


def draw(seed: int, offset: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(offset, 2.0, size=SHAPE).astype(np.float32)


def some_mask() -> np.ndarray:
    return (np.random.default_rng(9).random(SHAPE) < 0.6).astype(np.float32)


def explained(target: np.ndarray, value: np.ndarray, mask: np.ndarray) -> float:
    tensors = (tf.constant(array) for array in (target, value, mask))
    return float(explained_variance(*tensors, all_sum=lambda tensor: tensor))


@pytest.mark.parametrize("mask", [np.ones(SHAPE, np.float32), some_mask()], ids=["all", "masked"])
def test_explained_variance_equals_numpy(mask: np.ndarray) -> None:
    target = draw(0, offset=30.0)
    # Off by a constant, which the variance of the difference does not see.
    value = 0.7 * target + 0.3 * draw(1) + 4.0
    counts = mask > 0
    expected = 1.0 - np.var((target - value)[counts]) / np.var(target[counts])
    assert explained(target, value, mask) == pytest.approx(expected, rel=1e-4)
    assert 0.5 < expected < 0.99


def test_explained_variance_does_not_look_at_masked_steps() -> None:
    mask, target, value = some_mask(), draw(0), draw(1)
    expected = explained(target, value, mask)
    masked = mask == 0
    assert explained(np.where(masked, 1e3, target), np.where(masked, -1e3, value), mask) == expected


def test_explained_variance_is_1_for_true_values_0_for_a_constant_and_negative_for_worse() -> None:
    target, mask = draw(0, offset=3.0), some_mask()
    assert explained(target, target, mask) == pytest.approx(1.0, abs=1e-6)
    assert explained(target, np.full_like(target, 5.0), mask) == pytest.approx(0.0, abs=1e-5)
    assert explained(target, -target, mask) == pytest.approx(-3.0, rel=1e-4)


@pytest.mark.parametrize("normalize", [True, False])
def test_statistics_of_minibatches_equal_numpy(normalize: bool) -> None:
    advantage, mask = draw(3, offset=1.0).ravel(), some_mask().ravel()
    minibatches = np.random.default_rng(0).permutation(advantage.size)[:30].reshape(3, 10).astype(np.int32)
    found = minibatch_statistics(
        tf.constant(advantage), tf.constant(mask), tf.constant(minibatches), normalize, lambda tensor: tensor
    )
    for index, chosen in enumerate(minibatches):
        counted = advantage[chosen][mask[chosen] > 0]
        center, scale = (counted.mean(), 1.0 / counted.std()) if normalize else (0.0, 1.0)
        np.testing.assert_allclose([item[index] for item in found], [len(counted), center, scale], rtol=1e-4, atol=1e-6)
