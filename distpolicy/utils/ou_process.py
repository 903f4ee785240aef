"""OUProcess: noise that drifts back to 0."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class OUProcess(tf.Module):
    """An Ornstein-Uhlenbeck process: ``x' = (1 - damping) * x + N(0, stddev)``, independent for each element.

    Args:
        initial_value: The initial x, a float tensor or array of any shape.
        damping: Share of x that each step removes.
        stddev: Standard deviation of the normal number that each step adds.
        seed: An int. The same seed leads to the same values. None for TensorFlow's global stream.
        scope: Name of the module.
    """

    def __init__(
        self,
        initial_value: Any,
        damping: float = 0.15,
        stddev: float = 0.2,
        seed: int | None = None,
        scope: str = "ornstein_uhlenbeck_noise",
    ) -> None:
        super().__init__(name=scope)
        self._damping, self._stddev, self._seed = damping, stddev, seed
        self._x = tf.Variable(initial_value, trainable=False, name="x")
        self._step = tf.Variable(tf.zeros((), tf.int64), trainable=False, name="step")

    def __call__(self) -> tf.Tensor:
        """Returns the next value, with the initial value's shape and dtype."""
        shape, dtype = self._x.shape, self._x.dtype
        if self._seed is None:
            noise = tf.random.normal(shape, stddev=self._stddev, dtype=dtype)
        else:
            seed = tf.stack([tf.constant(self._seed, tf.int64), self._step.assign_add(1, read_value=True)])
            noise = tf.random.stateless_normal(shape, seed, stddev=self._stddev, dtype=dtype)
        return tf.identity(self._x.assign((1 - self._damping) * self._x + noise, read_value=True))


def ornstein_uhlenbeck_process(
    initial_value: Any,
    damping: float = 0.15,
    stddev: float = 0.2,
    seed: int | None = None,
    scope: str = "ornstein_uhlenbeck_noise",
) -> OUProcess:
    """Returns an :class:`OUProcess` with these arguments."""
    return OUProcess(initial_value, damping, stddev, seed, scope)
