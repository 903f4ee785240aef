"""PermanentVariableRateDropout: dropout whose rate may change, and which may act outside training, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("distpolicy")
class PermanentVariableRateDropout(keras.layers.Layer):
    """Sets a share of its inputs to 0, and scales up the others so that the mean stays.

    Args:
        rate: The share, in [0, 1); or a function without arguments that gives it at each call.
        permanent: Whether it acts outside training, too.
        seed: Of what is dropped; None to draw one.
        **kwargs: Arguments of every Keras layer.
    """

    def __init__(
        self, rate: float | Callable[[], Any], permanent: bool = False, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not callable(rate) and not 0.0 <= rate < 1.0:
            raise ValueError(f"the rate of a dropout must be in [0, 1), but is {rate}")
        self.rate = rate
        self.permanent = permanent
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """float ``[...]`` of the same shape."""
        if not (training or self.permanent):
            return inputs
        rate = self.rate() if callable(self.rate) else self.rate
        if not callable(self.rate) and rate == 0.0:
            return inputs
        kept = keras.random.uniform(tf.shape(inputs), dtype=inputs.dtype, seed=self.seed_generator) >= rate
        return tf.where(kept, inputs / (1.0 - rate), tf.zeros_like(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "permanent": self.permanent, "seed": self.seed}
