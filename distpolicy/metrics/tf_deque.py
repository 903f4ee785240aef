"""TFDeque: the last values of something, in a variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class TFDeque(tf.Module):
    """Keeps the last ``max_len`` values.

    Args:
        max_len: Largest number of values.
        dtype: Their dtype.
        shape: The shape of one value.
        name: Name of the module.
    """

    def __init__(self, max_len: int, dtype: Any, shape: Sequence[int] = (), name: str = "TFDeque") -> None:
        super().__init__(name=name)
        self._max_len, self._dtype, self._shape = int(max_len), tf.as_dtype(dtype), tuple(shape)
        self._buffer = tf.Variable(tf.zeros((self._max_len, *self._shape), dtype), trainable=False, name="buffer")
        self._head = tf.Variable(0, dtype=tf.int64, trainable=False, name="head")

    @property
    def length(self) -> tf.Tensor:
        """The number of values, int32."""
        return tf.cast(tf.minimum(self._head, self._max_len), tf.int32)

    @property
    def data(self) -> tf.Tensor:
        """The values ``[length, *shape]``. After the first ``max_len`` their order is not that of time."""
        return self._buffer[: self.length]

    def add(self, value: Any) -> None:
        """Adds one value ``[*shape]``."""
        self.extend(tf.convert_to_tensor(value, self._dtype)[tf.newaxis])

    def extend(self, value: Any) -> None:
        """Adds values ``[N, *shape]`` in their order."""
        values = tf.convert_to_tensor(value, self._dtype)
        num_values = tf.shape(values, tf.int64)[0]
        # Two values for the same place would be written in any order.
        first = tf.maximum(num_values - self._max_len, 0)
        places = (self._head + tf.range(first, num_values)) % self._max_len
        self._buffer.scatter_nd_update(places[:, tf.newaxis], values[first:])
        self._head.assign_add(num_values)

    def clear(self) -> None:
        """Removes all values."""
        self._head.assign(0)

    def mean(self) -> tf.Tensor:
        """Returns the mean of the values ``[*shape]``; 0 if there are none."""
        total = tf.reduce_sum(self.data, axis=0)
        return total / tf.cast(tf.maximum(self.length, 1), self._dtype)

    def max(self) -> tf.Tensor:
        """Returns the largest values ``[*shape]``; the dtype's smallest number if there are none."""
        padded = tf.concat([self.data, tf.fill((1, *self._shape), self._dtype.min)], axis=0)
        return tf.reduce_max(padded, axis=0)

    def min(self) -> tf.Tensor:
        """Returns the smallest values ``[*shape]``; the dtype's largest number if there are none."""
        padded = tf.concat([self.data, tf.fill((1, *self._shape), self._dtype.max)], axis=0)
        return tf.reduce_min(padded, axis=0)
