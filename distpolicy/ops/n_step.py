"""Returns over several steps of sequences, as pure functions."""

from __future__ import annotations

import tensorflow as tf


def n_step_returns(
    reward: tf.Tensor, discount: tf.Tensor, value: tf.Tensor, is_transition: tf.Tensor, n_step: int
) -> tf.Tensor:
    """Returns the sum of the rewards of n steps and the discounted value after these (Sutton and Barto, 2018, 7.1).

    ``G_t = r_{t+1} + discount_{t+1} G_{t+1}`` over n steps, and ``G = V`` after the last of them. A return covers fewer
    steps where an episode ends before, or where a step is not a transition of the task: it ends with the value there.

    Args:
        reward: Reward of the transition from step t to t + 1, float ``[B, T]``.
        discount: Discount of step t + 1 times gamma, float ``[B, T]``.
        value: Values of all steps, float ``[B, T]``.
        is_transition: False where a step is LAST, or does not lead to the next one, bool ``[B, T]``.
        n_step: n, less than T.

    Returns:
        The returns from the first T - n steps, float ``[B, T - n]``. No gradient flows through them.

    Raises:
        ValueError: If ranks or shapes do not match, or the sequences are too short.
    """
    for name, tensor in (("discount", discount), ("value", value), ("is_transition", is_transition)):
        if reward.shape.rank != 2 or not tensor.shape.is_compatible_with(reward.shape):
            raise ValueError(f"{name} must have the shape [B, T] of reward, {reward.shape}, but has {tensor.shape}")
    num_steps = int(reward.shape[1])
    if not 1 <= n_step < num_steps:
        raise ValueError(f"n_step must be in [1, {num_steps - 1}] for sequences of {num_steps} steps, but is {n_step}")
    # Rewards and discounts of what is not a transition must not count, even if they are NaN.
    reward = tf.where(is_transition, reward, tf.zeros_like(reward))
    discount = tf.where(is_transition, discount, tf.zeros_like(discount))
    found = value
    for covered in range(1, n_step + 1):
        length = num_steps - covered
        after = reward[:, :length] + discount[:, :length] * found[:, 1 : length + 1]
        found = tf.where(is_transition[:, :length], after, value[:, :length])
    return tf.stop_gradient(found)
