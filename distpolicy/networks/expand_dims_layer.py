"""ExpandDims: a layer that adds a dimension of length 1."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("distpolicy")
class ExpandDims(keras.layers.Layer):
    """Adds a dimension of length 1 after the batch dimension.

    Args:
        axis: Place of the new dimension among the inner ones, which begin with 0. A negative place is counted from the
            end: -1 is after the last dimension.
        **kwargs: Arguments of every Keras layer.
    """

    def __init__(self, axis: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the inputs ``[B, ...]`` with one more dimension."""
        return tf.expand_dims(inputs, self.axis if self.axis < 0 else self.axis + 1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the inputs with one more dimension."""
        shape = list(input_shape)
        shape.insert(len(shape) + 1 + self.axis if self.axis < 0 else self.axis + 1, 1)
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}
