"""Adam for agents that take many gradient steps in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class Adam(tf.Module):
    """Adam (Kingma and Ba, 2015, algorithm 1 in the efficient form of section 2) with clipping by the global norm.

    Each variable has its own moments. :class:`distpolicy.agents.flat_adam.FlatAdam` joins the gradients to one vector,
    which replicas can add up at once. With layers of 256, and several threads for XLA to divide this among, a gradient
    step of SAC takes four times the CPU time by it.

    Args:
        variables: The variables to train. Only their shapes are kept; they still belong to their networks.
        epsilon: Added to the root of the second moment.
        max_gradient_norm: Bound of the gradient's global norm; None for no bound.
        learning_rate: The step size.
    """

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        epsilon: float,
        max_gradient_norm: float | None,
        learning_rate: float,
    ) -> None:
        super().__init__(name="adam")
        self._learning_rate = learning_rate
        self._epsilon = epsilon
        self._max_gradient_norm = finite_bound(max_gradient_norm)
        self.iterations = tf.Variable(tf.zeros((), tf.int64), trainable=False, name="iterations")
        self.first_moments = [_zeros_like(variable, "first_moment") for variable in variables]
        self.second_moments = [_zeros_like(variable, "second_moment") for variable in variables]

    def apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> tf.Tensor:
        """Takes one step.

        Args:
            gradients: One for each variable.
            variables: The variables to train, as in the constructor.

        Returns:
            The gradient's global norm before it was clipped, float32 scalar.
        """
        norm = tf.linalg.global_norm(gradients)
        if self._max_gradient_norm is not None:
            scale = self._max_gradient_norm / tf.maximum(norm, self._max_gradient_norm)
            gradients = [gradient * scale for gradient in gradients]
        step = tf.cast(self.iterations.assign_add(1), tf.float32)
        correction = tf.sqrt(1.0 - tf.pow(_BETA_2, step)) / (1.0 - tf.pow(_BETA_1, step))
        for gradient, variable, first, second in zip(
            gradients, variables, self.first_moments, self.second_moments, strict=True
        ):
            mean = first.assign(_BETA_1 * first + (1.0 - _BETA_1) * gradient)
            square = second.assign(_BETA_2 * second + (1.0 - _BETA_2) * tf.square(gradient))
            variable.assign_sub(self._learning_rate * correction * mean / (tf.sqrt(square) + self._epsilon))
        return norm


def finite_bound(bound: float | None) -> float | None:
    """Returns a bound of gradients, or None if it is infinite: to scale by it would make them NaN."""
    return None if bound is None or math.isinf(bound) else bound


def apply_gradients(optimizer: Any, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> tf.Tensor:
    """Takes one step by an optimizer.

    Args:
        optimizer: A Keras optimizer, or an Adam.
        gradients: One for each variable.
        variables: The variables to train.

    Returns:
        The gradient's global norm before the optimizer clipped it, float32 scalar.
    """
    if isinstance(optimizer, Adam):
        return optimizer.apply(gradients, variables)
    optimizer.apply(gradients, variables)
    return tf.linalg.global_norm(gradients)


def _zeros_like(variable: Any, name: str) -> tf.Variable:
    return tf.Variable(tf.zeros(variable.shape), trainable=False, name=name)


_BETA_1 = 0.9
_BETA_2 = 0.999
