"""Returns against a loop in NumPy."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.ops.returns import returns_to_go


@given(
    num_slots=st.integers(1, 3),
    num_steps=st.integers(1, 9),
    gamma=st.sampled_from([0.0, 0.9, 1.0]),
    seed=st.integers(0, 99),
)
def test_returns_to_go_are_those_of_a_loop(num_slots: int, num_steps: int, gamma: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    reward = generator.normal(size=(num_slots, num_steps)).astype(np.float32)
    is_last = generator.random((num_slots, num_steps)) < 0.3
    expected = np.zeros_like(reward)
    for row in range(num_slots):
        total = 0.0
        for t in reversed(range(num_steps)):
            total = reward[row, t] + (0.0 if is_last[row, t] else gamma * total)
            expected[row, t] = total
    found = returns_to_go(
        tf.constant(reward), tf.constant(is_last), tf.fill(reward.shape, tf.cast(gamma, reward.dtype))
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
