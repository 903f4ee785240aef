"""Discounted returns and advantages of trajectories."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.errors import SpecMismatchError


def discounted_return(
    rewards: Any,
    discounts: Any,
    final_value: Any = None,
    time_major: bool = True,
    provide_all_returns: bool = True,
) -> tf.Tensor:
    """Returns ``G_t = r_t + d_t G_{t+1}`` with ``G_T`` the final value (Sutton and Barto, 2018, equation 3.9).

    No gradient passes.

    Args:
        rewards: Float ``[T, B]`` or ``[T]``.
        discounts: Like ``rewards``.
        final_value: Value after the last step, ``[B]``, or a scalar or ``[1]`` without a batch; None for 0.
        time_major: Whether batches are ``[T, B]`` rather than ``[B, T]``.
        provide_all_returns: Whether the returns of all steps are asked for, rather than the first step's.

    Returns:
        The returns, like ``rewards``; ``[B]`` or a scalar without ``provide_all_returns``.

    Raises:
        ValueError: If the shapes of rewards and discounts differ.
    """
    rewards, discounts = _time_major(time_major, rewards=rewards, discounts=discounts)
    initial = tf.zeros_like(rewards[0]) if final_value is None else tf.cast(final_value, rewards.dtype)
    returns = _accumulated(rewards, discounts, tf.reshape(initial, tf.shape(rewards)[1:]))
    if not provide_all_returns:
        return tf.stop_gradient(returns[0])
    return tf.stop_gradient(returns if time_major else tf.transpose(returns))


def generalized_advantage_estimation(
    values: Any,
    final_value: Any,
    discounts: Any,
    rewards: Any,
    td_lambda: Any = 1.0,
    time_major: bool = True,
) -> tf.Tensor:
    """Computes generalised advantage estimates (Schulman et al., 2016, equations 11 and 16). No gradient passes.

    Args:
        values: Values of the steps, float ``[T, B]``.
        final_value: Value after the last step, float ``[B]``.
        discounts: Discounts, float ``[T, B]``.
        rewards: Rewards, float ``[T, B]``.
        td_lambda: Lambda, in [0, 1].
        time_major: Whether all but ``final_value`` are ``[T, B]`` rather than ``[B, T]``.

    Returns:
        Advantages, like ``values``.

    Raises:
        ValueError: If the shapes differ.
    """
    rewards, discounts, values = _time_major(time_major, rewards=rewards, discounts=discounts, values=values)
    final_value = tf.cast(final_value, values.dtype)
    delta = rewards + discounts * tf.concat([values[1:], final_value[tf.newaxis]], axis=0) - values
    advantages = _accumulated(delta, discounts * tf.cast(td_lambda, discounts.dtype), tf.zeros_like(final_value))
    return tf.stop_gradient(advantages if time_major else tf.transpose(advantages))


def _accumulated(terms: tf.Tensor, factors: tf.Tensor, initial: tf.Tensor) -> tf.Tensor:
    """Returns ``x_t = term_t + factor_t x_{t+1}`` along the first dimension."""
    return tf.scan(lambda later, step: step[0] + step[1] * later, (terms, factors), initializer=initial, reverse=True)


def _time_major(time_major: bool, **tensors: Any) -> list[tf.Tensor]:
    converted = {name: tf.convert_to_tensor(tensor) for name, tensor in tensors.items()}
    (first, shape), *rest = ((name, tensor.shape) for name, tensor in converted.items())
    for name, other in rest:
        if not shape.is_compatible_with(other):
            raise SpecMismatchError(f"{first} {shape} and {name} {other} must have the same shape")
    return [tensor if time_major else tf.transpose(tensor) for tensor in converted.values()]
