"""ActorRnnNetwork: sequences of observations in, actions within their bounds out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.agents.ddpg.joint_encoder import single_spec
from distpolicy.distributions.utils import action_scale, bounded_elements
from distpolicy.errors import ConfigError
from distpolicy.networks.layer_stacks import ConvLayerParams
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.utils import apply_dense, with_inner_shape
from distpolicy.specs import tensor_spec


class ActorRnnNetwork(Network):
    """Convolutions, dense layers, recurrent cells, dense layers, and outputs by tanh within the bounds of the actions.

    Args:
        input_tensor_spec: Nest of the spec of one observation, one tensor.
        output_tensor_spec: Nest of bounded specs of floats, with finite bounds.
        conv_layer_params: Convolutions; see :class:`EncodingNetwork`.
        input_fc_layer_params: Width of each dense layer before the cells.
        lstm_size: Number of units of each cell. Several cells are stacked.
        output_fc_layer_params: Width of each dense layer after the cells.
        activation_fn: Keras activation of the dense layers.
        name: Name of the module.
        cell: See :class:`LSTMEncodingNetwork`: ``"lstm"`` or ``"gru"``.
        seed: Seed of the initial weights; None to draw one.

    Raises:
        ValueError: If there are several observations, or an action is not of floats with finite bounds.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: Any,
        conv_layer_params: ConvLayerParams | None = None,
        input_fc_layer_params: Sequence[int] | None = (200, 100),
        lstm_size: Sequence[int] = (40,),
        output_fc_layer_params: Sequence[int] | None = (200, 100),
        activation_fn: Any = "relu",
        name: str | None = "ActorRnnNetwork",
        *,
        cell: str = "lstm",
        seed: int | None = None,
    ) -> None:
        recurrent = LSTMEncodingNetwork(
            single_spec(tensor_spec.from_spec(input_tensor_spec), "observation"),
            conv_layer_params=conv_layer_params,
            input_fc_layer_params=input_fc_layer_params,
            lstm_size=lstm_size,
            output_fc_layer_params=output_fc_layer_params,
            activation_fn=activation_fn,
            cell=cell,
            kernel_initializer=keras.initializers.GlorotUniform(),
            seed=seed,
        )
        super().__init__(input_tensor_spec, recurrent.state_spec, name)
        object.__setattr__(self, "_output_tensor_spec", tensor_spec.from_spec(output_tensor_spec))
        specs = tf.nest.flatten(self._output_tensor_spec)
        for spec in specs:
            if not tensor_spec.is_continuous(spec) or not bounded_elements(spec).all():
                raise ConfigError(f"{self.name}: an action must be of floats with finite bounds, not {spec}")
        self._recurrent = recurrent
        self._actions = [
            keras.layers.Dense(
                int(np.prod(spec.shape.as_list())),
                activation="tanh",
                kernel_initializer=keras.initializers.RandomUniform(
                    -0.003, 0.003, seed=None if seed is None else seed + recurrent.num_layers + index
                ),
            )
            for index, spec in enumerate(specs)
        ]

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the actions.

        Args:
            observation: Nest of one tensor ``[B, *shape]``, ``[B, T, *shape]`` or ``shape``.
            step_type: int32 of the outer dimensions; the state is reset where it is FIRST. None to reset nowhere.
            network_state: Nest of ``[B, size]`` like ``state_spec``: the state before the first step.
            training: Whether dropout acts.

        Returns:
            A nest like ``output_tensor_spec`` of ``[..., *shape]``, and the state after the last step.
        """
        (leaf,) = tf.nest.flatten(observation)
        encoding, network_state = self._recurrent(
            leaf, step_type=step_type, network_state=network_state, training=training
        )
        actions = []
        for layer, spec in zip(self._actions, tf.nest.flatten(self._output_tensor_spec), strict=True):
            squashed = with_inner_shape(apply_dense(layer, encoding), spec.shape.as_list())
            center, half_width = action_scale(spec)
            actions.append(center + half_width * tf.cast(squashed, spec.dtype))
        return tf.nest.pack_sequence_as(self._output_tensor_spec, actions), network_state
