"""DuelingQNetwork: a Q-network with a stream for the state's value and one for the actions' advantages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import ConvLayerParams, default_initializer, dense_layers, num_layers
from distpolicy.networks.network import Network
from distpolicy.networks.q_network import count_actions, q_layer
from distpolicy.networks.utils import apply_dense, outer_rank


class DuelingQNetwork(Network):
    """Encodes an observation and returns ``V + A - mean(A)`` for each action: float32 ``[B, num_actions]``.

    See Wang et al., "Dueling network architectures for deep reinforcement learning", 2016, equation 9.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        action_spec: Bounded discrete spec of shape ``()`` or ``(1,)``.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        fc_layer_params: Width of each dense layer before the streams.
        stream_layer_params: Width of each dense layer of a stream.
        activation_fn: Keras activation of the hidden layers.
        kernel_initializer: Initializer of the hidden layers' kernels.
        name: Name of the module.
        seed: Seed of the initial weights, for initializers without a seed of their own; None to draw one.

    Raises:
        ValueError: If the action spec is anything else.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: Any,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        conv_layer_params: ConvLayerParams | None = None,
        fc_layer_params: Sequence[int] | None = None,
        stream_layer_params: Sequence[int] | None = (64,),
        activation_fn: Any = "relu",
        kernel_initializer: Any = None,
        name: str | None = "DuelingQNetwork",
        *,
        seed: int | None = None,
    ) -> None:
        num_actions = count_actions(action_spec)
        super().__init__(input_tensor_spec, (), name)
        initializer = default_initializer() if kernel_initializer is None else kernel_initializer
        self._encoder = EncodingNetwork(
            self.input_tensor_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            fc_layer_params=fc_layer_params,
            activation_fn=activation_fn,
            kernel_initializer=initializer,
            seed=seed,
        )
        first = num_layers(conv_layer_params, fc_layer_params)
        width = len(stream_layer_params or ()) + 1
        self._value_layers, self._advantage_layers = (
            [
                *dense_layers(stream_layer_params, activation_fn, initializer, seed=seed, first_index=first + shift),
                q_layer(outputs, seed=None if seed is None else seed + first + shift + width - 1),
            ]
            for shift, outputs in ((0, 1), (width, num_actions))
        )

    @property
    def hidden_layers(self) -> list[keras.Layer]:
        """The dense layers of both streams, without their last ones."""
        return [*self._value_layers[:-1], *self._advantage_layers[:-1]]

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the values.

        Args:
            observation: Nest of ``[..., *shape]``.
            step_type: Ignored.
            network_state: Returned unchanged.
            training: Whether layers are in training mode.

        Returns:
            float32 ``[..., num_actions]``, and ``network_state``.
        """
        encoding, network_state = self._encoder(
            observation, step_type=step_type, network_state=network_state, training=training
        )
        rank = outer_rank(observation, self.input_tensor_spec)
        value = advantage = encoding
        for layer in self._value_layers:
            value = apply_dense(layer, value, rank)
        for layer in self._advantage_layers:
            advantage = apply_dense(layer, advantage, rank)
        return value + advantage - tf.reduce_mean(advantage, axis=-1, keepdims=True), network_state
