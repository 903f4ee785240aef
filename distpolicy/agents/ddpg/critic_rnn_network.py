"""CriticRnnNetwork: sequences of observations and actions in, their values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.agents.ddpg.critic_network import critic_layer
from distpolicy.agents.ddpg.joint_encoder import JointEncoder
from distpolicy.networks.layer_stacks import ConvLayerParams
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.utils import apply_dense


class CriticRnnNetwork(Network):
    """Layers for the observation, for the action and for both, recurrent cells, and one output: ``[B]`` or ``[B, T]``.

    Args:
        input_tensor_spec: A pair of the specs of one observation and one action, each a nest of one tensor.
        observation_conv_layer_params: Convolutions of the observation; see :class:`EncodingNetwork`.
        observation_fc_layer_params: Width of each dense layer of the observation.
        action_fc_layer_params: Width of each dense layer of the action.
        joint_fc_layer_params: Width of each dense layer of both.
        lstm_size: See :class:`LSTMEncodingNetwork`.
        output_fc_layer_params: Width of each dense layer after the cells.
        activation_fn: Keras activation of the dense layers.
        kernel_initializer: Of the dense layers before the cells; uniform, scaled by the number of inputs, by default.
        last_kernel_initializer: Of the output layer; uniform in ±0.003 by default.
        rnn_construction_fn: See :class:`LSTMEncodingNetwork`.
        rnn_construction_kwargs: The same.
        name: Name of the module.
        cell: The same: ``"lstm"`` or ``"gru"``.
        seed: Seed of the initial weights, for initializers without their own; None to draw one.

    Raises:
        ValueError: If the spec is not a pair, or holds several observations or actions. If not exactly one of
            ``lstm_size`` and ``rnn_construction_fn`` is given.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        observation_conv_layer_params: ConvLayerParams | None = None,
        observation_fc_layer_params: Sequence[int] | None = (200,),
        action_fc_layer_params: Sequence[int] | None = (200,),
        joint_fc_layer_params: Sequence[int] | None = (100,),
        lstm_size: Sequence[int] | None = None,
        output_fc_layer_params: Sequence[int] | None = (200, 100),
        activation_fn: Any = "relu",
        kernel_initializer: Any = None,
        last_kernel_initializer: Any = None,
        rnn_construction_fn: Callable[..., Any] | None = None,
        rnn_construction_kwargs: Mapping[str, Any] | None = None,
        name: str | None = "CriticRnnNetwork",
        *,
        cell: str = "lstm",
        seed: int | None = None,
    ) -> None:
        encoder = JointEncoder(
            input_tensor_spec,
            observation_conv_layer_params=observation_conv_layer_params,
            observation_fc_layer_params=observation_fc_layer_params,
            action_fc_layer_params=action_fc_layer_params,
            joint_fc_layer_params=joint_fc_layer_params,
            activation_fn=activation_fn,
            kernel_initializer=kernel_initializer,
            seed=seed,
        )
        recurrent = LSTMEncodingNetwork(
            encoder.create_variables(),
            input_fc_layer_params=None,
            lstm_size=lstm_size,
            output_fc_layer_params=output_fc_layer_params,
            activation_fn=activation_fn,
            rnn_construction_fn=rnn_construction_fn,
            rnn_construction_kwargs=rnn_construction_kwargs,
            cell=cell,
            seed=None if seed is None else seed + encoder.num_layers,
        )
        super().__init__(input_tensor_spec, recurrent.state_spec, name)
        self._encoder = encoder
        self._recurrent = recurrent
        last_seed = None if seed is None else seed + encoder.num_layers + recurrent.num_layers
        self._value = critic_layer(last_kernel_initializer, None, last_seed)

    def call(self, inputs: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the values.

        Args:
            inputs: A pair of the observation and the action, ``[B, *shape]``, ``[B, T, *shape]`` or ``shape`` each.
            step_type: int32 of the outer dimensions; the state is reset where it is FIRST. None to reset nowhere.
            network_state: Nest of ``[B, size]`` like ``state_spec``: the state before the first step.
            training: Whether dropout acts.

        Returns:
            float32 of the outer dimensions, and the state after the last step.
        """
        encoding, _ = self._encoder(inputs, training=training)
        encoding, network_state = self._recurrent(
            encoding, step_type=step_type, network_state=network_state, training=training
        )
        return tf.squeeze(apply_dense(self._value, encoding), axis=-1), network_state
