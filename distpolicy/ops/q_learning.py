"""Targets of Q-learning as pure functions."""

from __future__ import annotations

import tensorflow as tf


def td_target(reward: tf.Tensor, discount: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns ``r_t + discount_t * v_t``, which the value of the step before learns (Sutton and Barto, 2018, 6.1).

    Args:
        reward: float ``[...]``; over n steps their discounted sum.
        discount: float ``[...]``: gamma times the environment's discount; over n steps the product.
        value: float ``[...]``, the value of the step that the transition leads to.

    Returns:
        float ``[...]``. No gradient flows through it.

    Raises:
        ValueError: If the shapes differ.
    """
    for name, tensor in (("discount", discount), ("value", value)):
        if not tensor.shape.is_compatible_with(reward.shape):
            raise ValueError(f"{name} must have the shape of reward, {reward.shape}, but has {tensor.shape}")
    return tf.stop_gradient(reward + discount * value)


def greedy_actions(q_values: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the action with the highest value, the first of several: int32 ``[...]``.

    Args:
        q_values: float ``[..., num_actions]``.
        mask: ``[..., num_actions]``, not 0 where an action is allowed; None for all. Where a mask allows no action, as
            it may after an episode's end, all count as allowed.

    Raises:
        ValueError: If there are no actions, or the mask has another shape.
    """
    if q_values.shape.rank is None or q_values.shape.rank < 1:
        raise ValueError(f"q_values must be [..., num_actions], but have shape {q_values.shape}")
    if mask is not None:
        if not mask.shape.is_compatible_with(q_values.shape):
            raise ValueError(f"mask must have the shape of q_values, {q_values.shape}, but has {mask.shape}")
        q_values = tf.where(tf.cast(mask, tf.bool), q_values, tf.constant(q_values.dtype.min, q_values.dtype))
    return tf.argmax(q_values, axis=-1, output_type=tf.int32)


def values_of(q_values: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """Returns the values of the given actions, float ``[...]``.

    A sum over a one-hot mask: on CPUs XLA makes its gradient faster than a gather's, which is a scatter.

    Args:
        q_values: float ``[..., num_actions]``.
        actions: int ``[...]``.

    Raises:
        ValueError: If the shapes do not match.
    """
    if not actions.shape.is_compatible_with(q_values.shape[:-1]):
        raise ValueError(f"actions must have shape {q_values.shape[:-1]}, but have {actions.shape}")
    chosen = tf.one_hot(actions, int(q_values.shape[-1]), on_value=True, off_value=False, dtype=tf.bool)
    return tf.reduce_sum(tf.where(chosen, q_values, tf.zeros_like(q_values)), axis=-1)
