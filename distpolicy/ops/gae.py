"""Advantage estimators as pure functions."""

from __future__ import annotations

import tensorflow as tf


def generalized_advantage_estimation(
    reward: tf.Tensor, discount: tf.Tensor, value: tf.Tensor, is_boundary: tf.Tensor, lambda_: float
) -> tf.Tensor:
    """Computes generalised advantage estimates (Schulman et al., 2016, equations 11 and 16).

    ``delta_t = r_{t+1} + discount_{t+1} * v_{t+1} - v_t`` and ``A_t = delta_t + discount_{t+1} * lambda * A_{t+1}``.
    A truncated episode is bootstrapped from the value of its last observation, since its discount is not 0. At a
    boundary (LAST to FIRST) the advantage is 0, so that an episode does not affect the one before.

    Args:
        reward: Reward of the transition from step t to t + 1, float32 ``[B, T]``.
        discount: Discount of step t + 1 times gamma, float32 ``[B, T]``.
        value: Values of all steps, float32 ``[B, T + 1]``.
        is_boundary: True where step t is LAST, bool ``[B, T]``.
        lambda_: Lambda, in [0, 1].

    Returns:
        Advantages, float32 ``[B, T]``.

    Raises:
        ValueError: If ranks or shapes do not match.
    """
    for name, tensor in (("reward", reward), ("discount", discount), ("value", value), ("is_boundary", is_boundary)):
        if tensor.shape.rank != 2:
            raise ValueError(f"{name} must have rank 2, [B, T], but has shape {tensor.shape}")
    if not value[:, 1:].shape.is_compatible_with(reward.shape):
        raise ValueError(f"value must have one step more than reward {reward.shape}, but has shape {value.shape}")
    zeros = tf.zeros_like(reward)
    delta = tf.where(is_boundary, zeros, reward + discount * value[:, 1:] - value[:, :-1])
    decay = tf.where(is_boundary, zeros, discount * lambda_)

    def accumulate(later: tf.Tensor, step: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        delta_t, decay_t = step
        return delta_t + decay_t * later

    time_major = (tf.transpose(delta), tf.transpose(decay))
    advantage = tf.scan(accumulate, time_major, initializer=tf.zeros_like(delta[:, 0]), reverse=True)
    return tf.transpose(advantage)
