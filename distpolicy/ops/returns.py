"""Returns as pure functions."""

from __future__ import annotations

import tensorflow as tf


def discounted_returns(reward: tf.Tensor, step_type_is_last: tf.Tensor, initial: tf.Tensor, gamma: float) -> tf.Tensor:
    """The running discounted sum of rewards of each slot, begun anew with each episode.

    Its spread is what rewards are normalised by (Engstrom et al., "Implementation matters in deep RL", 2020).

    Args:
        reward: float ``[B, T]``, of the transition from t to t + 1.
        step_type_is_last: bool ``[B, T]``: where step t is LAST, so that t + 1 begins an episode.
        initial: float ``[B]``: the sum before step 0.
        gamma: Discount.

    Returns:
        Like ``reward``: the sum after each transition; 0 at FIRST.
    """

    def accumulate(sofar: tf.Tensor, step: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        reward_t, last_t = step
        return tf.where(last_t, tf.zeros_like(sofar), gamma * sofar + reward_t)

    sums = tf.scan(accumulate, (tf.transpose(reward), tf.transpose(step_type_is_last)), initializer=initial)
    return tf.transpose(sums)


def returns_to_go(reward: tf.Tensor, is_last: tf.Tensor, gamma: float) -> tf.Tensor:
    """Returns the discounted sum of the rewards from each step to its episode's end, or to the end of the sequence.

    Args:
        reward: float ``[B, T]``, of the transition from t to t + 1.
        is_last: bool ``[B, T]``: where the transition ends an episode.
        gamma: Discount.

    Returns:
        Like ``reward``.
    """

    def accumulate(later: tf.Tensor, step: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        reward_t, last_t = step
        return reward_t + tf.where(last_t, tf.zeros_like(later), gamma * later)

    time_major = (tf.transpose(reward), tf.transpose(is_last))
    return tf.transpose(tf.scan(accumulate, time_major, initializer=tf.zeros_like(reward[:, 0]), reverse=True))
