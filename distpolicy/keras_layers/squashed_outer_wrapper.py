"""SquashedOuterWrapper: a layer for one batch dimension, applied to inputs with several."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.keras_layers.arguments import takes_training

__all__ = ["SquashedOuterWrapper"]


@keras.saving.register_keras_serializable("distpolicy")
class SquashedOuterWrapper(keras.layers.Layer):
    """Makes one batch dimension of the outer dimensions, calls a layer, and restores them.

    Args:
        wrapped: The layer, such as a BatchNormalization.
        inner_rank: Number of the last dimensions, which are not outer ones.
        **kwargs: Arguments of every Keras layer.

    Raises:
        ValueError: If the layer is recurrent, since its states would need the same.
    """

    def __init__(self, wrapped: keras.layers.Layer, inner_rank: int, **kwargs: Any) -> None:
        if getattr(wrapped, "get_initial_state", None) is not None:
            raise ConfigError(f"SquashedOuterWrapper cannot wrap {wrapped.name}, which is recurrent")
        super().__init__(**kwargs)
        self._inner_rank = inner_rank
        self._wrapped = wrapped

    @property
    def inner_rank(self) -> int:
        """Number of the last dimensions, which are not outer ones."""
        return self._inner_rank

    @property
    def wrapped(self) -> keras.layers.Layer:
        """The layer."""
        return self._wrapped

    def build(self, input_shape: Any) -> None:
        """Creates the layer's weights for inputs ``[..., *inner]``."""
        if not self._wrapped.built:
            self._wrapped.build(self._squashed(tuple(input_shape)))

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the layer's outputs ``[..., *inner of the outputs]`` for inputs ``[..., *inner]``."""
        num_outer = inputs.shape.rank - self._inner_rank
        if num_outer < 1:
            raise SpecMismatchError(
                f"{self.name}: inputs {inputs.shape} have no batch dimension before their {self._inner_rank} inner ones"
            )
        shape = tf.shape(inputs)
        squashed = tf.ensure_shape(tf.reshape(inputs, tf.concat([[-1], shape[num_outer:]], 0)), self._squashed(inputs))
        options = {"training": training} if takes_training(self._wrapped) else {}
        outputs = self._wrapped(squashed, **options)
        restored = tf.reshape(outputs, tf.concat([shape[:num_outer], tf.shape(outputs)[1:]], 0))
        return tf.ensure_shape(restored, (*inputs.shape[:num_outer], *outputs.shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the outer dimensions and the layer's inner ones."""
        inner = self._wrapped.compute_output_shape(self._squashed(tuple(input_shape)))[1:]
        return (*tuple(input_shape)[: -self._inner_rank], *inner)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        wrapped = keras.saving.serialize_keras_object(self._wrapped)
        return {**super().get_config(), "wrapped": wrapped, "inner_rank": self._inner_rank}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SquashedOuterWrapper:
        """Returns the layer that :meth:`get_config` describes."""
        return cls(**{**config, "wrapped": keras.saving.deserialize_keras_object(config["wrapped"])})

    def _squashed(self, inputs: Any) -> tuple[int | None, ...]:
        shape = tuple(getattr(inputs, "shape", inputs))
        return (None, *shape[len(shape) - self._inner_rank :])
