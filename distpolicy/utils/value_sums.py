"""Sums of rewards and values over time. As in TF-Agents, ``utils.common`` exports them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.errors import SpecMismatchError


def compute_returns(rewards: Any, discounts: Any, time_major: bool = False) -> tf.Tensor:
    """Returns ``G_t = r_t + d_t G_{t+1}``, with 0 after the last step.

    Args:
        rewards: Float ``[T]`` or ``[B, T]``.
        discounts: Like ``rewards``; 0 at the last step of an episode.
        time_major: Whether batches are ``[T, B]``.

    Raises:
        ValueError: If the shapes differ.
    """
    rewards, discounts = tf.convert_to_tensor(rewards), tf.convert_to_tensor(discounts)
    if not rewards.shape.is_compatible_with(discounts.shape):
        raise SpecMismatchError(f"rewards {rewards.shape} and discounts {discounts.shape} must have the same shape")
    flips = rewards.shape.rank > 1 and not time_major
    if flips:
        rewards, discounts = tf.transpose(rewards), tf.transpose(discounts)
    returns = tf.scan(
        lambda later, step: step[0] + step[1] * later,
        (rewards, discounts),
        initializer=tf.zeros_like(rewards[0]),
        reverse=True,
    )
    return tf.transpose(returns) if flips else returns


def discounted_future_sum(values: Any, gamma: Any, num_steps: Any) -> tf.Tensor:
    """Returns ``v_t + g v_{t+1} + … + g^{n-1} v_{t+n-1}``, with 0 after the last step.

    Args:
        values: float32 ``[B, T]``.
        gamma: The discount g.
        num_steps: n, the number of terms, 1 or more.

    Returns:
        float32 ``[B, T]``.

    Raises:
        ValueError: If ``values`` does not have two dimensions.
    """
    values = _matrix(values)
    num_terms = tf.minimum(num_steps, tf.shape(values)[1])
    weights = tf.pow(tf.cast(gamma, tf.float32), tf.cast(tf.range(num_terms), tf.float32))
    padded = tf.pad(values, [[0, 0], [0, num_terms - 1]])
    sums = tf.nn.conv1d(padded[..., tf.newaxis], tf.reshape(weights, [-1, 1, 1]), stride=1, padding="VALID")
    return tf.ensure_shape(sums[..., 0], values.shape)


def discounted_future_sum_masked(values: Any, gamma: Any, num_steps: Any, episode_lengths: Any) -> tf.Tensor:
    """Returns :func:`discounted_future_sum` of values that are 0 from each row's episode length on.

    Args:
        values: float32 ``[B, T]``.
        gamma: The discount.
        num_steps: The number of terms.
        episode_lengths: Integers ``[B]``.
    """
    values = _matrix(values)
    mask = tf.sequence_mask(episode_lengths, tf.shape(values)[1], dtype=values.dtype)
    return discounted_future_sum(values * mask, gamma, num_steps)


def shift_values(values: Any, gamma: Any, num_steps: Any, final_values: Any = None) -> tf.Tensor:
    """Returns ``g^n v_{t+n}``; beyond the last step T - 1 it is ``g^{T-t} f``.

    Args:
        values: float32 ``[B, T]``.
        gamma: The discount g.
        num_steps: n, 0 or more.
        final_values: f, float32 ``[B]``; None for 0.

    Returns:
        float32 ``[B, T]``.

    Raises:
        ValueError: If ``values`` does not have two dimensions.
    """
    values = _matrix(values)
    shift = tf.minimum(num_steps, tf.shape(values)[1])
    final_values = tf.zeros_like(values[:, 0]) if final_values is None else tf.convert_to_tensor(final_values)
    gamma = tf.cast(gamma, tf.float32)
    powers = tf.pow(gamma, tf.cast(tf.range(shift, 0, -1), tf.float32))
    shifted = tf.pow(gamma, tf.cast(shift, tf.float32)) * values[:, shift:]
    return tf.ensure_shape(tf.concat([shifted, final_values[:, tf.newaxis] * powers], axis=1), values.shape)


def get_contiguous_sub_episodes(next_time_steps_discount: Any) -> tf.Tensor:
    """Returns 1 up to the first step that terminates its episode, and 0 after it: float32 ``[B, T]``.

    Args:
        next_time_steps_discount: Float ``[B, T]``: 0 where a step terminates its episode.
    """
    goes_on = tf.cast(tf.not_equal(next_time_steps_discount, 0), tf.float32)
    return tf.math.cumprod(goes_on, axis=1, exclusive=True)


def convert_q_logits_to_values(logits: Any, support: Any) -> tf.Tensor:
    """Returns the means of categorical distributions of values.

    Args:
        logits: Float ``[..., num_atoms]``.
        support: The values of the atoms, float ``[num_atoms]``.
    """
    return tf.reduce_sum(tf.nn.softmax(logits) * support, axis=-1)


def _matrix(values: Any) -> tf.Tensor:
    values = tf.convert_to_tensor(values)
    if values.shape.rank != 2:
        raise SpecMismatchError(f"values must have shape [B, T], but have {values.shape}")
    return values
