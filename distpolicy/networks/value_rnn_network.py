"""ValueRnnNetwork: a recurrent network from observations to their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from distpolicy.networks.layer_stacks import ConvLayerParams, DropoutLayerParams
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.utils import apply_dense, outer_rank
from distpolicy.networks.value_network import value_layer


class ValueRnnNetwork(Network):
    """Encodes observations recurrently and returns their values by a linear layer: float32 ``[B]`` or ``[B, T]``.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        input_fc_layer_params: See :class:`LSTMEncodingNetwork`.
        input_dropout_layer_params: See :class:`LSTMEncodingNetwork`.
        lstm_size: See :class:`LSTMEncodingNetwork`.
        output_fc_layer_params: See :class:`LSTMEncodingNetwork`.
        activation_fn: Keras activation of the dense layers.
        dtype: Dtype of the layers and the state.
        name: Name of the module.
        cell: See :class:`LSTMEncodingNetwork`: ``"lstm"`` or ``"gru"``.
        kernel_initializer: Initializer of the hidden dense layers' kernels.
        last_kernel_initializer: Initializer of the output layer's kernel; uniform in ±0.03 by default.
        seed: Seed of the initial weights, for initializers without a seed of their own; None to draw one.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        conv_layer_params: ConvLayerParams | None = None,
        input_fc_layer_params: Sequence[int] | None = (75, 40),
        input_dropout_layer_params: DropoutLayerParams | None = None,
        lstm_size: Sequence[int] | None = (40,),
        output_fc_layer_params: Sequence[int] | None = (75, 40),
        activation_fn: Any = "relu",
        dtype: Any = tf.float32,
        name: str | None = "ValueRnnNetwork",
        *,
        cell: str = "lstm",
        kernel_initializer: Any = None,
        last_kernel_initializer: Any = None,
        seed: int | None = None,
    ) -> None:
        encoder = LSTMEncodingNetwork(
            input_tensor_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            input_fc_layer_params=input_fc_layer_params,
            lstm_size=lstm_size,
            output_fc_layer_params=output_fc_layer_params,
            activation_fn=activation_fn,
            dtype=dtype,
            cell=cell,
            input_dropout_layer_params=input_dropout_layer_params,
            kernel_initializer=kernel_initializer,
            seed=seed,
        )
        super().__init__(input_tensor_spec, encoder.state_spec, name)
        self._encoder = encoder
        last_seed = None if seed is None else seed + encoder.num_layers
        self._value = value_layer(last_kernel_initializer, dtype, last_seed)

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the values.

        Args:
            observation: Nest of ``[B, *shape]``, ``[B, T, *shape]`` or ``shape``.
            step_type: int32 ``[B]``, ``[B, T]`` or scalar; the state is reset where it is FIRST. None for no resets.
            network_state: The state before the first step, a nest of ``[B, size]`` like ``state_spec``.
            training: Whether dropout is active.

        Returns:
            float ``[B]``, ``[B, T]`` or scalar, and the state after the last step.
        """
        encoding, network_state = self._encoder(
            observation, step_type=step_type, network_state=network_state, training=training
        )
        value = apply_dense(self._value, encoding, outer_rank(observation, self.input_tensor_spec))
        return tf.squeeze(value, axis=-1), network_state
