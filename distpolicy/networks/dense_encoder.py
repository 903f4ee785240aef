"""A stack of dense layers over one flattened observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class DenseEncoder(tf.Module):
    """Flattens an observation and passes it through dense layers.

    Args:
        observation_rank: Rank of one observation, without batch dimensions.
        units: Width of each layer.
        activation: Keras activation.
        seed: Seed of the orthogonal initial weights.
        output_units: Width of a last, linear layer; None for none.
        output_gain: Gain of that layer's initial weights. Small for policies, so that they begin near
            uniform (Andrychowicz et al., "What matters in on-policy reinforcement learning", 2020).
    """

    def __init__(
        self,
        observation_rank: int,
        units: Sequence[int],
        activation: Any,
        seed: int,
        output_units: int | None = None,
        output_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self._observation_rank = observation_rank
        sizes = [(width, activation, float(np.sqrt(2.0))) for width in units]
        if output_units is not None:
            sizes.append((output_units, None, output_gain))
        self._layers = [
            keras.layers.Dense(
                width, activation=function, kernel_initializer=keras.initializers.Orthogonal(gain, seed=seed + index)
            )
            for index, (width, function, gain) in enumerate(sizes)
        ]

    def __call__(self, observation: tf.Tensor) -> tf.Tensor:
        """float32 ``[..., units]`` of an observation ``[..., *shape]``."""
        values = tf.cast(observation, tf.float32)
        if self._observation_rank != 1:
            outer = values.shape.rank - self._observation_rank
            size = int(np.prod(values.shape[outer:]))
            values = tf.reshape(values, tf.concat([tf.shape(values)[:outer], [size]], axis=0))
        for layer in self._layers:
            values = layer(values)
        return values
