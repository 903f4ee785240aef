from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.ops.gae import generalized_advantage_estimation
from distpolicy.ops.returns import discounted_returns

FIRST, MID, LAST = 0, 1, 2


def random_stream(generator: np.random.Generator, num_slots: int, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Step types ``[B, T + 1]`` and discounts ``[B, T]`` of episodes that begin, end and are cut anywhere."""
    step_type = np.zeros((num_slots, num_steps + 1), np.int32)
    discount = np.ones((num_slots, num_steps), np.float32)
    step_type[:, 0] = generator.integers(0, 3, num_slots)
    for b in range(num_slots):
        for t in range(num_steps):
            if step_type[b, t] == LAST:
                step_type[b, t + 1] = FIRST
            else:
                step_type[b, t + 1] = LAST if generator.random() < 0.35 else MID
                if step_type[b, t + 1] == LAST and generator.random() < 0.5:
                    discount[b, t] = 0.0
    return step_type, discount


def reference_advantage(
    reward: np.ndarray, discount: np.ndarray, value: np.ndarray, is_boundary: np.ndarray, lambda_: float
) -> np.ndarray:
    num_slots, num_steps = reward.shape
    advantage = np.zeros((num_slots, num_steps))
    for b in range(num_slots):
        for start in range(num_steps):
            # Equation 16 from its definition: the discounted sum of the errors up to the episode's end.
            weight, total = 1.0, 0.0
            for t in range(start, num_steps):
                if is_boundary[b, t]:
                    break
                total += weight * (reward[b, t] + discount[b, t] * value[b, t + 1] - value[b, t])
                weight *= discount[b, t] * lambda_
            advantage[b, start] = total
    return advantage


@settings(max_examples=25)
@given(
    num_slots=st.integers(1, 3),
    num_steps=st.sampled_from([1, 2, 7]),
    seed=st.integers(0, 10_000),
    gamma=st.sampled_from([0.0, 0.9, 1.0]),
    lambda_=st.sampled_from([0.0, 0.8, 1.0]),
)
def test_advantages_equal_a_numpy_reference_over_boundaries_terminations_and_truncations(
    num_slots: int, num_steps: int, seed: int, gamma: float, lambda_: float
) -> None:
    generator = np.random.default_rng(seed)
    step_type, discount = random_stream(generator, num_slots, num_steps)
    reward = generator.normal(size=(num_slots, num_steps)).astype(np.float32)
    value = generator.normal(size=(num_slots, num_steps + 1)).astype(np.float32)
    is_boundary = step_type[:, :-1] == LAST
    discount = (gamma * discount).astype(np.float32)
    got = generalized_advantage_estimation(
        tf.constant(reward), tf.constant(discount), tf.constant(value), tf.constant(is_boundary), lambda_
    )
    assert got.dtype == tf.float32
    expected = reference_advantage(reward, discount, value, is_boundary, lambda_)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(got.numpy()[is_boundary], 0.0)


def test_nothing_flows_over_a_boundary() -> None:
    is_boundary = tf.constant([[False, False, True, False]])
    discount = tf.ones([1, 4])

    def advantage(later: float) -> np.ndarray:
        reward = tf.constant([[1.0, 1.0, later, later]])
        value = tf.constant([[0.5, 0.5, 0.5, later, later]])
        return generalized_advantage_estimation(reward, discount, value, is_boundary, 0.9).numpy()

    np.testing.assert_array_equal(advantage(7.0)[:, :3], advantage(-1e6)[:, :3])
    assert advantage(7.0)[0, 3] != advantage(-1e6)[0, 3]


def test_truncation_bootstraps_from_the_last_value_and_termination_does_not() -> None:
    arguments = {"reward": tf.constant([[1.0]]), "value": tf.constant([[2.0, 10.0]])}
    arguments |= {"is_boundary": tf.constant([[False]]), "lambda_": 0.95}
    truncated = generalized_advantage_estimation(discount=tf.constant([[0.5]]), **arguments)
    terminated = generalized_advantage_estimation(discount=tf.constant([[0.0]]), **arguments)
    assert float(truncated[0, 0]) == 1.0 + 0.5 * 10.0 - 2.0
    assert float(terminated[0, 0]) == 1.0 - 2.0


@pytest.mark.parametrize("name", ["reward", "discount", "value", "is_boundary"])
def test_wrong_rank_is_refused_and_the_argument_is_named(name: str) -> None:
    arguments: dict[str, Any] = {
        "reward": tf.zeros([2, 3]),
        "discount": tf.zeros([2, 3]),
        "value": tf.zeros([2, 4]),
        "is_boundary": tf.zeros([2, 3], tf.bool),
    }
    arguments[name] = arguments[name][..., tf.newaxis]
    with pytest.raises(ValueError, match=rf"^{name} must have rank 2"):
        generalized_advantage_estimation(**arguments, lambda_=0.9)


def test_value_without_the_last_step_is_refused() -> None:
    with pytest.raises(ValueError, match="value must have one step more"):
        generalized_advantage_estimation(
            tf.zeros([2, 3]), tf.zeros([2, 3]), tf.zeros([2, 3]), tf.zeros([2, 3], tf.bool), 0.9
        )


@settings(max_examples=20)
@given(num_steps=st.sampled_from([1, 6]), seed=st.integers(0, 10_000), gamma=st.sampled_from([0.0, 0.9, 1.0]))
def test_discounted_returns_equal_a_numpy_reference(num_steps: int, seed: int, gamma: float) -> None:
    generator = np.random.default_rng(seed)
    step_type, _ = random_stream(generator, 3, num_steps)
    reward = generator.normal(size=(3, num_steps))
    initial = generator.normal(size=3)
    is_last = step_type[:, :-1] == LAST
    expected = np.zeros_like(reward)
    for b in range(3):
        total = initial[b]
        for t in range(num_steps):
            total = 0.0 if is_last[b, t] else gamma * total + reward[b, t]
            expected[b, t] = total
    got = discounted_returns(tf.constant(reward), tf.constant(is_last), tf.constant(initial), gamma)
    assert got.dtype == tf.float64
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_discounted_returns_of_two_parts_equal_those_of_the_whole() -> None:
    generator = np.random.default_rng(3)
    step_type, _ = random_stream(generator, 4, 12)
    reward, is_last = tf.constant(generator.normal(size=(4, 12))), tf.constant(step_type[:, :-1] == LAST)
    initial = tf.constant(generator.normal(size=4))
    whole = discounted_returns(reward, is_last, initial, 0.9)
    first = discounted_returns(reward[:, :5], is_last[:, :5], initial, 0.9)
    second = discounted_returns(reward[:, 5:], is_last[:, 5:], first[:, -1], 0.9)
    np.testing.assert_array_equal(tf.concat([first, second], axis=1), whole)


def test_step_before_a_cut_is_bootstrapped_from_the_last_real_observation() -> None:
    # Two real steps, the row that a fault cut, LAST to FIRST, and a step of the next episode.
    reward, discount = np.array([[-1.0, -1.0, 0.0, 0.0, 5.0]]), np.full((1, 5), 0.9)
    value = np.array([[1.0, 2.0, 3.0, 100.0, 50.0, 60.0]])
    is_boundary = np.array([[False, False, True, True, False]])
    arrays = (tf.constant(array, tf.float32) for array in (reward, discount, value))
    advantage = generalized_advantage_estimation(*arrays, tf.constant(is_boundary), lambda_=0.8)
    second = -1.0 + 0.9 * 3.0 - 2.0
    first = -1.0 + 0.9 * 2.0 - 1.0 + 0.9 * 0.8 * second
    np.testing.assert_allclose(advantage[0, :4], [first, second, 0.0, 0.0], rtol=1e-5, atol=1e-6)
