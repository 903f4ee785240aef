"""Layers that make floats of one leaf of an observation; none has weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.networks.utils import flatten_inner, with_inner_shape


class _ObservationLayer(keras.layers.Layer):
    """A layer of values ``[..., *shape]`` with any outer dimensions.

    Its dtype is float32 unless it is given: Keras' global policy would round before the first weights.

    Args:
        shape: Of one value.
        dtype: Of the outputs.
        **kwargs: Arguments of every Keras layer.
    """

    def __init__(self, shape: Sequence[int], *, dtype: Any = "float32", **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self.shape = tuple(int(length) for length in shape)

    def _flat(self, values: tf.Tensor) -> tf.Tensor:
        return flatten_inner(values, values.shape.rank - len(self.shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "shape": list(self.shape)}


class _BoundedIntegerLayer(_ObservationLayer):
    """A layer of integers with bounds.

    Args:
        shape: Of one value.
        minimum: The least value of each element, in one list.
        maximum: The greatest, too.
        **kwargs: ``dtype``, and arguments of every Keras layer.
    """

    def __init__(self, shape: Sequence[int], minimum: Sequence[int], maximum: Sequence[int], **kwargs: Any) -> None:
        super().__init__(shape, **kwargs)
        self.minimum, self.maximum = (tuple(int(bound) for bound in bounds) for bounds in (minimum, maximum))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "minimum": list(self.minimum), "maximum": list(self.maximum)}


@keras.saving.register_keras_serializable("distpolicy")
class FlatFloats(_ObservationLayer):
    """``[..., n]`` of floats or bools ``[..., *shape]``."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The elements as floats."""
        return tf.cast(self._flat(inputs), self.compute_dtype)


@keras.saving.register_keras_serializable("distpolicy")
class OneHotIntegers(_BoundedIntegerLayer):
    """A column for every value of every element; all are 0 of an element that is out of its bounds."""

    def __init__(self, shape: Sequence[int], minimum: Sequence[int], maximum: Sequence[int], **kwargs: Any) -> None:
        super().__init__(shape, minimum, maximum, **kwargs)
        values = [range(low, high + 1) for low, high in zip(self.minimum, self.maximum, strict=True)]
        self._column_elements = np.repeat(np.arange(len(values)), [len(own) for own in values])
        self._column_values = _as_int64([value for own in values for value in own])

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Zeros and ones ``[..., n]`` of integers ``[..., *shape]``; those of an element are side by side."""
        values = self._flat(tf.cast(inputs, tf.int64))
        if len(self.minimum) > 1:
            values = tf.gather(values, self._column_elements, axis=-1)
        return tf.cast(tf.equal(values, self._column_values), self.compute_dtype)


@keras.saving.register_keras_serializable("distpolicy")
class ScaledIntegers(_BoundedIntegerLayer):
    """``[..., n]`` of integers ``[..., *shape]``: 0 at each one's minimum, 1 at its maximum."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The scaled elements."""
        # Large integers lose their last digits as floats, but not their distance from the minimum.
        distance = self._flat(tf.cast(inputs, tf.int64)) - _as_int64(self.minimum)
        ranges = [max(high - low, 1) for low, high in zip(self.minimum, self.maximum, strict=True)]
        return tf.cast(distance, self.compute_dtype) / tf.constant(ranges, self.compute_dtype)


@keras.saving.register_keras_serializable("distpolicy")
class LogIntegers(_ObservationLayer):
    """``sign(x) log(1 + |x|)``, ``[..., n]``, of integers ``[..., *shape]``.

    For counters and the like whose bounds say nothing: 0 stays 0, small ones keep apart, and 2^63 becomes 44.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The logarithms."""
        # In float32 whatever the dtype: float16 ends at 65504.
        values = tf.cast(self._flat(inputs), tf.float32)
        return tf.cast(tf.sign(values) * tf.math.log(1.0 + tf.abs(values)), self.compute_dtype)


@keras.saving.register_keras_serializable("distpolicy")
class ScaledImage(_ObservationLayer):
    """Floats in [0, 1], ``[..., height, width, channels]``, of an image of bytes in any of the usual layouts.

    Two dimensions are height and width. Of three, the smaller one of first and last is that of the channels, and the
    last if they are equal. Four are a stack of such images, which becomes channels.

    Args:
        shape: Of one image: two to four dimensions.
        minimum: What becomes 0.
        maximum: What becomes 1.
        **kwargs: ``dtype``, and arguments of every Keras layer.
    """

    def __init__(self, shape: Sequence[int], minimum: int = 0, maximum: int = 255, **kwargs: Any) -> None:
        super().__init__(shape, **kwargs)
        self.minimum, self.maximum = int(minimum), int(maximum)
        rank = len(self.shape)
        rows = rank - 2 if rank == 2 or self.shape[-3] < self.shape[-1] else rank - 3
        self._order = [rows, rows + 1, *(axis for axis in range(rank) if axis not in (rows, rows + 1))]
        height, width, *rest = (self.shape[axis] for axis in self._order)
        self.image_shape = (height, width, int(np.prod(rest, dtype=int)))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The scaled images."""
        num_outer = inputs.shape.rank - len(self.shape)
        if self._order != sorted(self._order):
            # Still in bytes, which is a fourth of the memory.
            inputs = tf.transpose(inputs, [*range(num_outer), *(num_outer + axis for axis in self._order)])
        if len(self.shape) != 3:
            inputs = with_inner_shape(flatten_inner(inputs, num_outer), self.image_shape)
        values = tf.cast(inputs, self.compute_dtype)
        if self.minimum:
            values -= self.minimum
        return values / max(self.maximum - self.minimum, 1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "minimum": self.minimum, "maximum": self.maximum}


def _as_int64(values: Sequence[int]) -> np.ndarray:
    """As a cast of uint64 has them: those from 2^63 on wrap around."""
    return np.array([value % 2**64 for value in values], np.uint64).astype(np.int64)
