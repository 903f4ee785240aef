"""Adam over one flat vector of all parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from distpolicy.agents.adam import finite_bound


class FlatAdam(tf.Module):
    """Adam (Kingma and Ba, 2015, algorithm 1 in the efficient form of section 2) with clipping by the global norm.

    The moments of all parameters lie in two vectors, so that a step is a few operations over them instead of a dozen
    for each parameter: an update that holds it compiles a sixth faster than with Keras' Adam, and takes the same steps.

    Args:
        variables: The variables to train. Only their sizes are kept; they still belong to their networks.
        epsilon: Added to the root of the second moment.
        max_gradient_norm: Bound of the gradient's global norm; None for no bound.
    """

    def __init__(self, variables: Sequence[tf.Variable], epsilon: float, max_gradient_norm: float | None) -> None:
        super().__init__(name="flat_adam")
        self._sizes = [int(np.prod(variable.shape)) for variable in variables]
        self._epsilon = epsilon
        self._max_gradient_norm = finite_bound(max_gradient_norm)
        size = sum(self._sizes)
        self.iterations = tf.Variable(tf.zeros((), tf.int64), trainable=False, name="iterations")
        self.first_moment = tf.Variable(tf.zeros(size), trainable=False, name="first_moment")
        self.second_moment = tf.Variable(tf.zeros(size), trainable=False, name="second_moment")

    def apply(self, gradient: tf.Tensor, variables: Sequence[tf.Variable], learning_rate: tf.Tensor) -> tf.Tensor:
        """Takes one step.

        Args:
            gradient: The gradient of all variables, by :func:`flat`.
            variables: The variables to train, as in the constructor.
            learning_rate: float32 scalar.

        Returns:
            The gradient's global norm before it was clipped.
        """
        norm = tf.norm(gradient)
        if self._max_gradient_norm is not None:
            gradient *= self._max_gradient_norm / tf.maximum(norm, self._max_gradient_norm)
        step = tf.cast(self.iterations.assign_add(1), tf.float32)
        first = self.first_moment.assign(_BETA_1 * self.first_moment + (1.0 - _BETA_1) * gradient)
        second = self.second_moment.assign(_BETA_2 * self.second_moment + (1.0 - _BETA_2) * tf.square(gradient))
        correction = tf.sqrt(1.0 - tf.pow(_BETA_2, step)) / (1.0 - tf.pow(_BETA_1, step))
        change = learning_rate * correction * first / (tf.sqrt(second) + self._epsilon)
        for variable, part in zip(variables, tf.split(change, self._sizes), strict=True):
            variable.assign_sub(tf.reshape(part, variable.shape))
        return norm


def flat(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the gradients of all variables as one vector."""
    return tf.concat([tf.reshape(item, [-1]) for item in gradients], axis=0)


_BETA_1 = 0.9
_BETA_2 = 0.999
