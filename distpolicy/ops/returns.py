"""Returns as pure functions."""

from __future__ import annotations

import tensorflow as tf


def discounted_returns(reward: tf.Tensor, step_type_is_last: tf.Tensor, initial: tf.Tensor, gamma: float) -> tf.Tensor:
    """Computes the running discounted sum of rewards of each env slot. It restarts with each episode.

    Rewards are normalised by its standard deviation (Engstrom et al., "Implementation matters in deep RL", 2020).

    Args:
        reward: Reward of the transition from step t to t + 1, float ``[B, T]``.
        step_type_is_last: True where step t is LAST, so that an episode begins at t + 1, bool ``[B, T]``.
        initial: The sum before step 0, float ``[B]``.
        gamma: Discount factor.

    Returns:
        The sum after each transition, float ``[B, T]``; 0 at FIRST.
    """

    def accumulate(sofar: tf.Tensor, step: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        reward_t, last_t = step
        return tf.where(last_t, tf.zeros_like(sofar), gamma * sofar + reward_t)

    sums = tf.scan(accumulate, (tf.transpose(reward), tf.transpose(step_type_is_last)), initializer=initial)
    return tf.transpose(sums)


def returns_to_go(reward: tf.Tensor, is_last: tf.Tensor, discount: tf.Tensor) -> tf.Tensor:
    """Returns the discounted sum of the rewards from each step to its episode's end, or to the end of the sequence.

    Args:
        reward: float ``[B, T]``, of the transition from t to t + 1.
        is_last: bool ``[B, T]``: where the transition ends an episode.
        discount: float ``[B, T]``: the discount of what follows the transition.

    Returns:
        Like ``reward``.
    """

    def accumulate(later: tf.Tensor, step: tuple[tf.Tensor, ...]) -> tf.Tensor:
        reward_t, last_t, discount_t = step
        return reward_t + tf.where(last_t, tf.zeros_like(later), discount_t * later)

    time_major = (tf.transpose(reward), tf.transpose(is_last), tf.transpose(discount))
    return tf.transpose(tf.scan(accumulate, time_major, initializer=tf.zeros_like(reward[:, 0]), reverse=True))
