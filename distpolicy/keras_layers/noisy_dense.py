"""NoisyDense: a dense layer whose weights have learned noise."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("distpolicy")
class NoisyDense(keras.layers.Layer):
    """Returns ``activation(x (W + s_W e_W) + b + s_b e_b)``, with noise e of two vectors.

    The noise is factorised (Fortunato et al., "Noisy networks for exploration", 2018, equations 10 and 11):
    ``e_W = f(e_in) f(e_out)`` and ``e_b = f(e_out)`` with ``f(x) = sign(x) sqrt(|x|)``. The caller draws it, from a
    standard normal distribution. Every row may have its own.

    Args:
        units: Number of outputs.
        activation: Keras activation; None for none.
        initial_noise: The initial scale of the noise, before it is divided by the root of the number of inputs.
        seed: Seed of the initial weights; None to draw one.
        **kwargs: Arguments of every Keras layer.
    """

    def __init__(
        self, units: int, activation: Any = None, initial_noise: float = 0.5, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.initial_noise, self.seed = units, initial_noise, seed
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        """Creates the means and the scales of kernel and bias."""
        num_inputs = int(input_shape[-1])
        bound = 1.0 / math.sqrt(num_inputs)
        scale = keras.initializers.Constant(self.initial_noise * bound)
        shapes = {"kernel": (num_inputs, self.units), "bias": (self.units,)}
        for place, (name, shape) in enumerate(shapes.items()):
            seed = None if self.seed is None else self.seed + place
            mean = keras.initializers.RandomUniform(-bound, bound, seed=seed)
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=mean))
            setattr(self, f"{name}_scale", self.add_weight(name=f"{name}_scale", shape=shape, initializer=scale))
        self.num_noise = num_inputs + self.units

    def call(self, inputs: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Returns float ``[..., units]``.

        Args:
            inputs: float ``[..., n]``.
            noise: float ``[..., n + units]``, or broadcast to these dimensions; None for none.
        """
        outputs = tf.matmul(inputs, self.kernel) + self.bias
        if noise is not None:
            spread = tf.sign(noise) * tf.sqrt(tf.abs(noise))
            num_inputs = self.num_noise - self.units
            into, out = spread[..., :num_inputs], spread[..., num_inputs:]
            outputs += (tf.matmul(inputs * into, self.kernel_scale) + self.bias_scale) * out
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "initial_noise": self.initial_noise,
            "seed": self.seed,
        }
