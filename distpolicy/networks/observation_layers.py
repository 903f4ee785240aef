"""Layers without weights that convert one leaf of an observation to floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.networks.utils import flatten_inner, with_inner_shape


class _ObservationLayer(keras.layers.Layer):
    """A layer for values ``[..., *shape]`` with any outer dimensions.

    The default dtype is float32, not Keras' global dtype policy, which might round the observation.

    Args:
        shape: Shape of one value.
        dtype: Dtype of the outputs.
        **kwargs: Arguments of every Keras layer.
    """

    def __init__(self, shape: Sequence[int], *, dtype: Any = "float32", **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self.shape = tuple(int(length) for length in shape)

    def _flat(self, values: tf.Tensor) -> tf.Tensor:
        return flatten_inner(values, values.shape.rank - len(self.shape))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "shape": list(self.shape)}


class _BoundedIntegerLayer(_ObservationLayer):
    """A layer for integers with bounds.

    Args:
        shape: Shape of one value.
        minimum: The smallest value of each element, as a flat list.
        maximum: The largest value of each element, as a flat list.
        **kwargs: ``dtype``, and arguments of every Keras layer.
    """

    def __init__(self, shape: Sequence[int], minimum: Sequence[int], maximum: Sequence[int], **kwargs: Any) -> None:
        super().__init__(shape, **kwargs)
        self.minimum, self.maximum = (tuple(int(bound) for bound in bounds) for bounds in (minimum, maximum))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "minimum": list(self.minimum), "maximum": list(self.maximum)}


@keras.saving.register_keras_serializable("distpolicy")
class FlatFloats(_ObservationLayer):
    """Flattens floats or bools ``[..., *shape]`` to floats ``[..., n]``."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the elements as floats."""
        return tf.cast(self._flat(inputs), self.compute_dtype)


@keras.saving.register_keras_serializable("distpolicy")
class OneHotIntegers(_BoundedIntegerLayer):
    """Encodes integers as one-hot columns, one for every value of every element.

    All columns of an element outside its bounds are 0.
    """

    def __init__(self, shape: Sequence[int], minimum: Sequence[int], maximum: Sequence[int], **kwargs: Any) -> None:
        super().__init__(shape, minimum, maximum, **kwargs)
        values = [range(low, high + 1) for low, high in zip(self.minimum, self.maximum, strict=True)]
        self._column_elements = np.repeat(np.arange(len(values)), [len(own) for own in values])
        self._column_values = _as_int64([value for own in values for value in own])

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns zeros and ones ``[..., n]`` for integers ``[..., *shape]``; an element's columns are side by side."""
        values = self._flat(tf.cast(inputs, tf.int64))
        if len(self.minimum) > 1:
            values = tf.gather(values, self._column_elements, axis=-1)
        return tf.cast(tf.equal(values, self._column_values), self.compute_dtype)


@keras.saving.register_keras_serializable("distpolicy")
class ScaledIntegers(_BoundedIntegerLayer):
    """Scales integers ``[..., *shape]`` to floats ``[..., n]``: 0 at each element's minimum, 1 at its maximum."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the scaled elements."""
        # The difference is taken in int64, since large integers lose their last digits as floats.
        distance = self._flat(tf.cast(inputs, tf.int64)) - _as_int64(self.minimum)
        ranges = [max(high - low, 1) for low, high in zip(self.minimum, self.maximum, strict=True)]
        return tf.cast(distance, self.compute_dtype) / tf.constant(ranges, self.compute_dtype)


@keras.saving.register_keras_serializable("distpolicy")
class LogIntegers(_ObservationLayer):
    """Maps integers ``[..., *shape]`` to ``sign(x) log(1 + |x|)``, floats ``[..., n]``.

    This is for counters and other numbers without useful bounds. 0 stays 0, small numbers stay distinct, and 2^63
    becomes 44.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the logarithms."""
        # Always in float32, since float16 ends at 65504.
        values = tf.cast(self._flat(inputs), tf.float32)
        return tf.cast(tf.sign(values) * tf.math.log(1.0 + tf.abs(values)), self.compute_dtype)


@keras.saving.register_keras_serializable("distpolicy")
class ScaledImage(_ObservationLayer):
    """Scales images of bytes in any usual layout to floats in [0, 1], ``[..., height, width, channels]``.

    Two dimensions are height and width. In three dimensions, the channels are the smaller one of the first and the
    last, or the last if they are equal. Four dimensions are a stack of such images; the stack becomes channels.

    Args:
        shape: Shape of one image, two to four dimensions.
        minimum: Byte that becomes 0.
        maximum: Byte that becomes 1.
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
        """Returns the scaled images."""
        num_outer = inputs.shape.rank - len(self.shape)
        if self._order != sorted(self._order):
            # Bytes are transposed before the cast, since they take a fourth of the memory.
            inputs = tf.transpose(inputs, [*range(num_outer), *(num_outer + axis for axis in self._order)])
        if len(self.shape) != 3:
            inputs = with_inner_shape(flatten_inner(inputs, num_outer), self.image_shape)
        values = tf.cast(inputs, self.compute_dtype)
        if self.minimum:
            values -= self.minimum
        return values / max(self.maximum - self.minimum, 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "minimum": self.minimum, "maximum": self.maximum}


def _as_int64(values: Sequence[int]) -> np.ndarray:
    """Returns int64 values like a cast from uint64: those from 2^63 on wrap around."""
    return np.array([value % 2**64 for value in values], np.uint64).astype(np.int64)
