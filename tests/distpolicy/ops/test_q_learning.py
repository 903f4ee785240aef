from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.ops.q_learning import greedy_actions, td_target, values_of

Q = tf.constant([[1.0, 3.0, 2.0], [5.0, 5.0, -1.0]])


def test_target_is_reward_and_discounted_value_without_gradient() -> None:
    value = tf.constant([2.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(value)
        target = td_target(tf.constant([1.0, -1.0]), tf.constant([0.5, 0.0]), value)
    np.testing.assert_array_equal(target, [2.0, -1.0])
    assert tape.gradient(target, value) is None


def test_the_best_allowed_action_is_taken_and_the_first_of_several() -> None:
    np.testing.assert_array_equal(greedy_actions(Q), [1, 0])
    np.testing.assert_array_equal(greedy_actions(Q, tf.constant([[1, 0, 1], [0, 0, 1]])), [2, 2])
    np.testing.assert_array_equal(greedy_actions(tf.stack([Q, Q]))[1], [1, 0])


def test_a_mask_that_allows_nothing_gives_a_finite_value() -> None:
    chosen = greedy_actions(Q, tf.zeros([2, 3]))
    assert np.isfinite(values_of(Q, chosen)).all()


def test_values_of_actions_and_their_gradient() -> None:
    with tf.GradientTape() as tape:
        tape.watch(Q)
        values = values_of(Q, tf.constant([2, 0]))
        total = tf.reduce_sum(values * tf.constant([1.0, 7.0]))
    np.testing.assert_array_equal(values, [2.0, 5.0])
    np.testing.assert_array_equal(tape.gradient(total, Q), [[0, 0, 1], [7, 0, 0]])


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="discount must have the shape"):
        td_target(tf.zeros(2), tf.zeros(3), tf.zeros(2))
    with pytest.raises(ValueError, match="mask must have the shape"):
        greedy_actions(Q, tf.zeros([2, 2]))
    with pytest.raises(ValueError, match="num_actions"):
        greedy_actions(tf.constant(1.0))
    with pytest.raises(ValueError, match="actions must have shape"):
        values_of(Q, tf.zeros([3], tf.int32))
