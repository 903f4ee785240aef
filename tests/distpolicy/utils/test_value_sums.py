from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.utils import common

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.normal(size=(3, 6)).astype(np.float32)


def test_returns_are_those_of_a_loop() -> None:
    discounts = RANDOM.choice([0.0, 0.5, 1.0], size=(3, 6)).astype(np.float32)
    expected = np.zeros((3, 7))
    for step in range(5, -1, -1):
        expected[:, step] = VALUES[:, step] + discounts[:, step] * expected[:, step + 1]
    np.testing.assert_allclose(common.compute_returns(VALUES, discounts), expected[:, :6], rtol=1e-5)
    np.testing.assert_allclose(
        common.compute_returns(VALUES.T, discounts.T, time_major=True), expected[:, :6].T, rtol=1e-5
    )
    np.testing.assert_allclose(common.compute_returns(VALUES[1], discounts[1]), expected[1, :6], rtol=1e-5)
    with pytest.raises(ValueError, match="same shape"):
        common.compute_returns(VALUES, discounts[:2])


@pytest.mark.parametrize("num_steps", [1, 3, 6, 9])
def test_future_sums_are_those_of_a_loop(num_steps: int) -> None:
    padded = np.pad(VALUES, [(0, 0), (0, num_steps)])
    expected = sum(0.9**k * padded[:, k : k + 6] for k in range(num_steps))
    np.testing.assert_allclose(common.discounted_future_sum(VALUES, 0.9, num_steps), expected, rtol=1e-5, atol=1e-6)
    lengths = [6, 0, 2]
    masked = VALUES * (np.arange(6) < np.array(lengths)[:, None])
    np.testing.assert_allclose(
        common.discounted_future_sum_masked(VALUES, 0.9, num_steps, lengths),
        common.discounted_future_sum(masked, 0.9, num_steps),
        rtol=1e-6,
    )


@pytest.mark.parametrize("num_steps", [0, 2, 6, 8])
@pytest.mark.parametrize("final", [None, np.array([1.0, -2.0, 3.0], np.float32)])
def test_values_are_shifted_in_time(num_steps: int, final: Any) -> None:
    shift = min(num_steps, 6)
    expected = np.empty((3, 6))
    for step in range(6):
        last = np.zeros(3) if final is None else final
        expected[:, step] = 0.5**shift * VALUES[:, step + shift] if step + shift < 6 else 0.5 ** (6 - step) * last
    np.testing.assert_allclose(common.shift_values(VALUES, 0.5, num_steps, final), expected, rtol=1e-5)
    compiled = tf.function(lambda steps: common.shift_values(VALUES, 0.5, steps, final))
    np.testing.assert_allclose(compiled(tf.constant(num_steps)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "call", [lambda v: common.discounted_future_sum(v, 0.9, 2), lambda v: common.shift_values(v, 0.9, 2)]
)
def test_values_without_a_batch_are_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"\[B, T\]"):
        call(VALUES[0])


def test_the_first_episode_of_a_row_is_marked() -> None:
    mask = common.get_contiguous_sub_episodes(tf.constant([[1.0, 0.0, 1.0, 0.0], [0.5, 1.0, 1.0, 1.0]]))
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0], [1, 1, 1, 1]])


def test_logits_become_means() -> None:
    probabilities = np.array([[0.2, 0.8], [1.0, 1e-9]], np.float32)
    values = common.convert_q_logits_to_values(np.log(probabilities), np.array([-1.0, 4.0], np.float32))
    np.testing.assert_allclose(values, [3.0, -1.0], rtol=1e-5)
