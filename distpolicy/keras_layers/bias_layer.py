"""BiasLayer: adds a learned vector."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("distpolicy")
class BiasLayer(keras.layers.Layer):
    """Adds a learned vector to the last dimension of its inputs.

    Args:
        bias_initializer: Keras initializer of the vector.
        **kwargs: Arguments of every Keras layer.
    """

    def __init__(self, bias_initializer: Any = "zeros", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape: Any) -> None:
        """Creates the vector with the length of the last dimension."""
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer=self.bias_initializer)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the inputs, float ``[..., n]``, plus the vector."""
        return inputs + self.bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
