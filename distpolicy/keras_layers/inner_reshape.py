"""InnerReshape: reshapes the inner dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.errors import ConfigError, SpecMismatchError


@keras.saving.register_keras_serializable("distpolicy")
class InnerReshape(keras.layers.Layer):
    """Reshapes the last dimensions, and keeps the dimensions before them.

    Args:
        current_shape: Shape of the last dimensions of the inputs.
        new_shape: New shape of these dimensions, with the same number of elements.
        **kwargs: Arguments of every Keras layer.

    Raises:
        ValueError: If the sizes differ.
    """

    def __init__(self, current_shape: Sequence[int | None], new_shape: Sequence[int | None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.current_shape, self.new_shape = (tf.TensorShape(shape) for shape in (current_shape, new_shape))
        sizes = [shape.num_elements() for shape in (self.current_shape, self.new_shape)]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ConfigError(f"InnerReshape cannot reshape {self.current_shape} to {self.new_shape}: the sizes differ")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Reshapes a tensor ``[..., *current_shape]`` to ``[..., *new_shape]``."""
        outer = inputs.shape.rank - self.current_shape.rank
        if outer < 0 or not inputs.shape[outer:].is_compatible_with(self.current_shape):
            raise SpecMismatchError(f"{self.name}: expected inputs [..., {self.current_shape}], got {inputs.shape}")
        inner = [-1 if length is None else length for length in self.new_shape]
        return tf.reshape(inputs, tf.concat([tf.shape(inputs)[:outer], tf.constant(inner, tf.int32)], axis=0))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the inputs with the new inner dimensions."""
        return (*input_shape[: len(input_shape) - self.current_shape.rank], *self.new_shape.as_list())

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        shapes = {"current_shape": self.current_shape.as_list(), "new_shape": self.new_shape.as_list()}
        return {**super().get_config(), **shapes}
