"""ValueNetwork: an observation in, its value out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from distpolicy.networks.dense_encoder import DenseEncoder
from distpolicy.networks.network import Network


class ValueNetwork(Network):
    """Dense layers and one linear output: float32 ``[B]``.

    Args:
        input_tensor_spec: Spec of one observation.
        fc_layer_params: Width of each dense layer.
        activation_fn: Keras activation of the dense layers.
        seed: Seed of the initial weights.
        name: Name of the module.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        fc_layer_params: Sequence[int] = (75, 40),
        activation_fn: Any = "relu",
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(input_tensor_spec, name=name)
        self._encoder = DenseEncoder(
            self.input_tensor_spec.shape.rank, fc_layer_params, activation_fn, seed, output_units=1
        )

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        return tf.squeeze(self._encoder(observation), axis=-1), network_state
