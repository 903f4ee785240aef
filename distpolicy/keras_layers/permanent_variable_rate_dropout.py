"""PermanentVariableRateDropout: dropout with a variable rate that can stay active outside training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("distpolicy")
class PermanentVariableRateDropout(keras.layers.Layer):
    """Sets a share of its inputs to 0, and scales up the others so that the mean stays the same.

    Args:
        rate: The share, in [0, 1), or a function without arguments that returns it at each call.
        permanent: Whether dropout is active outside training, too.
        seed: Seed of the draws; None to draw one.
        **kwargs: Arguments of every Keras layer.
    """

    def __init__(
        self, rate: float | Callable[[], Any], permanent: bool = False, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not callable(rate) and not 0.0 <= rate < 1.0:
            raise ValueError(f"the dropout rate must be in [0, 1), but is {rate}")
        self.rate = rate
        self.permanent = permanent
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns float ``[...]`` with the shape of the inputs."""
        if not (training or self.permanent):
            return inputs
        rate = self.rate() if callable(self.rate) else self.rate
        if not callable(self.rate) and rate == 0.0:
            return inputs
        kept = keras.random.uniform(tf.shape(inputs), dtype=inputs.dtype, seed=self.seed_generator) >= rate
        return tf.where(kept, inputs / (1.0 - rate), tf.zeros_like(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "permanent": self.permanent, "seed": self.seed}
