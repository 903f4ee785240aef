"""QRnnNetwork: a recurrent network from observations to the values of all actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.networks.layer_stacks import ConvLayerParams
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.q_network import count_actions, q_layer
from distpolicy.networks.utils import apply_dense


class QRnnNetwork(LSTMEncodingNetwork):
    """Encodes observations recurrently and returns a value for each action: float32 ``[B, num_actions]``.

    For a sequence the values are ``[B, T, num_actions]``.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        action_spec: Bounded discrete spec of shape ``()`` or ``(1,)``.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        input_fc_layer_params: See :class:`LSTMEncodingNetwork`.
        lstm_size: See :class:`LSTMEncodingNetwork`.
        output_fc_layer_params: See :class:`LSTMEncodingNetwork`.
        activation_fn: Keras activation of the hidden dense layers.
        rnn_construction_fn: See :class:`LSTMEncodingNetwork`.
        rnn_construction_kwargs: See :class:`LSTMEncodingNetwork`.
        dtype: Dtype of the layers and the state.
        name: Name of the module.
        cell: See :class:`LSTMEncodingNetwork`: ``"lstm"`` or ``"gru"``.
        kernel_initializer: Initializer of the hidden dense layers' kernels.
        seed: Seed of the initial weights, for initializers without a seed of their own; None to draw one.

    Raises:
        ValueError: If the action spec is anything else, or not exactly one of ``lstm_size`` and ``rnn_construction_fn``
            is given.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: Any,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        conv_layer_params: ConvLayerParams | None = None,
        input_fc_layer_params: Sequence[int] | None = (75, 40),
        lstm_size: Sequence[int] | None = None,
        output_fc_layer_params: Sequence[int] | None = (75, 40),
        activation_fn: Any = "relu",
        rnn_construction_fn: Callable[..., Any] | None = None,
        rnn_construction_kwargs: Mapping[str, Any] | None = None,
        dtype: Any = tf.float32,
        name: str | None = "QRnnNetwork",
        *,
        cell: str = "lstm",
        kernel_initializer: Any = None,
        seed: int | None = None,
    ) -> None:
        num_actions = count_actions(action_spec)
        super().__init__(
            input_tensor_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            input_fc_layer_params=input_fc_layer_params,
            lstm_size=lstm_size,
            output_fc_layer_params=output_fc_layer_params,
            activation_fn=activation_fn,
            rnn_construction_fn=rnn_construction_fn,
            rnn_construction_kwargs=rnn_construction_kwargs,
            dtype=dtype,
            name=name,
            cell=cell,
            kernel_initializer=kernel_initializer,
            seed=seed,
        )
        self._q_value = q_layer(num_actions, dtype=dtype, seed=None if seed is None else seed + self.num_layers)

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the values.

        Args:
            observation: Nest of ``[B, *shape]``, ``[B, T, *shape]`` or ``shape``.
            step_type: int32 ``[B]``, ``[B, T]`` or scalar; the state is reset where it is FIRST. None for no resets.
            network_state: The state before the first step, a nest of ``[B, size]`` like ``state_spec``.
            training: Whether dropout is active.

        Returns:
            float ``[..., num_actions]``, and the state after the last step.
        """
        encoding, network_state = super().call(observation, step_type, network_state, training)
        return apply_dense(self._q_value, encoding), network_state
