"""ValueNetwork: a network from observations to their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import ConvLayerParams, DropoutLayerParams, clone_initializer, num_layers
from distpolicy.networks.network import Network
from distpolicy.networks.utils import apply_dense, outer_rank


class ValueNetwork(Network):
    """Encodes an observation and returns its value by a linear layer: float32 ``[B]``.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        fc_layer_params: Width of each dense layer.
        dropout_layer_params: See :class:`EncodingNetwork`.
        activation_fn: Keras activation of the hidden layers.
        kernel_initializer: Initializer of the hidden layers' kernels; Glorot's uniform one by default.
        batch_squash: See :class:`EncodingNetwork`.
        dtype: Dtype of the layers.
        name: Name of the module.
        last_kernel_initializer: Initializer of the output layer's kernel; uniform in ±0.03 by default.
        seed: Seed of the initial weights, for initializers without a seed of their own; None to draw one.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        conv_layer_params: ConvLayerParams | None = None,
        fc_layer_params: Sequence[int] | None = (75, 40),
        dropout_layer_params: DropoutLayerParams | None = None,
        activation_fn: Any = "relu",
        kernel_initializer: Any = None,
        batch_squash: bool = True,
        dtype: Any = tf.float32,
        name: str | None = "ValueNetwork",
        *,
        last_kernel_initializer: Any = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        self._encoder = EncodingNetwork(
            self.input_tensor_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            fc_layer_params=fc_layer_params,
            dropout_layer_params=dropout_layer_params,
            activation_fn=activation_fn,
            kernel_initializer="glorot_uniform" if kernel_initializer is None else kernel_initializer,
            batch_squash=batch_squash,
            dtype=dtype,
            seed=seed,
        )
        last_seed = None if seed is None else seed + num_layers(conv_layer_params, fc_layer_params)
        self._value = value_layer(last_kernel_initializer, dtype, last_seed)

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the values.

        Args:
            observation: Nest of ``[..., *shape]``.
            step_type: Ignored.
            network_state: Returned unchanged.
            training: Whether dropout is active.

        Returns:
            float ``[...]``, and ``network_state``.
        """
        encoding, network_state = self._encoder(
            observation, step_type=step_type, network_state=network_state, training=training
        )
        value = apply_dense(self._value, encoding, outer_rank(observation, self.input_tensor_spec))
        return tf.squeeze(value, axis=-1), network_state


def value_layer(kernel_initializer: Any, dtype: Any, seed: int | None) -> keras.layers.Dense:
    """Returns the output layer of a value network.

    Args:
        kernel_initializer: Initializer of the kernel; None for uniform in ±0.03.
        dtype: Dtype of the layer.
        seed: Seed of the kernel, for an initializer without a seed of its own; None to draw one.
    """
    if kernel_initializer is None:
        kernel_initializer = keras.initializers.RandomUniform(-0.03, 0.03)
    return keras.layers.Dense(
        1, kernel_initializer=clone_initializer(kernel_initializer, 0, seed), dtype=tf.as_dtype(dtype).name
    )
