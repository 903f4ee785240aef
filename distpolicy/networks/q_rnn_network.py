"""QRnnNetwork: a sequence of observations in, the values of all actions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.networks.layer_stacks import ConvLayerParams
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.q_network import count_actions, q_layer
from distpolicy.networks.utils import apply_dense


class QRnnNetwork(LSTMEncodingNetwork):
    """A recurrent encoder and one output for each action: float32 ``[B, num_actions]`` or ``[B, T, num_actions]``.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        action_spec: Bounded discrete spec of shape ``()`` or ``(1,)``.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: The same.
        conv_layer_params: The same.
        input_fc_layer_params: See :class:`LSTMEncodingNetwork`.
        lstm_size: The same.
        output_fc_layer_params: The same.
        activation_fn: Keras activation of the hidden dense layers.
        rnn_construction_fn: See :class:`LSTMEncodingNetwork`.
        rnn_construction_kwargs: The same.
        dtype: Of the layers and of the state.
        name: Name of the module.
        cell: See :class:`LSTMEncodingNetwork`: ``"lstm"`` or ``"gru"``.
        kernel_initializer: Of the hidden dense layers.
        seed: Seed of the initial weights, for initializers without their own; None to draw one.

    Raises:
        ValueError: If the action is another, or not exactly one of ``lstm_size`` and ``rnn_construction_fn`` is given.
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
        """The values.

        Args:
            observation: Nest of ``[B, *shape]``, ``[B, T, *shape]`` or ``shape``.
            step_type: int32 of the outer dimensions; the state is reset where it is FIRST. None to reset nowhere.
            network_state: Nest of ``[B, size]`` like ``state_spec``: the state before the first step.
            training: Whether dropout acts.

        Returns:
            float ``[..., num_actions]`` of the outer dimensions, and the state after the last step.
        """
        encoding, network_state = super().call(observation, step_type, network_state, training)
        return apply_dense(self._q_value, encoding), network_state
