"""NoisyQNetwork: a Q-network that explores by the noise of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.keras_layers.noisy_dense import NoisyDense
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import ConvLayerParams, num_layers
from distpolicy.networks.network import Network
from distpolicy.networks.q_network import count_actions
from distpolicy.networks.utils import flatten_inner, outer_rank


class NoisyQNetwork(Network):
    """Encodes an observation and returns a value for each action by noisy layers: float32 ``[B, num_actions]``.

    See :class:`NoisyDense`. With ``dueling`` there are two stacks of these, see :class:`DuelingQNetwork`.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        action_spec: Bounded discrete spec of shape ``()`` or ``(1,)``.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        fc_layer_params: Width of each dense layer without noise.
        noisy_layer_params: Width of each hidden layer with noise.
        dueling: Whether the noisy layers are two stacks, for the state's value and for the actions' advantages.
        activation_fn: Keras activation of the hidden layers.
        name: Name of the module.
        seed: Seed of the initial weights; None to draw one.

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
        noisy_layer_params: Sequence[int] | None = (64,),
        dueling: bool = False,
        activation_fn: Any = "relu",
        name: str | None = "NoisyQNetwork",
        *,
        seed: int | None = None,
    ) -> None:
        num_actions = count_actions(action_spec)
        super().__init__(input_tensor_spec, (), name)
        self._encoder = EncodingNetwork(
            self.input_tensor_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            fc_layer_params=fc_layer_params,
            activation_fn=activation_fn,
            seed=seed,
        )
        first = num_layers(conv_layer_params, fc_layer_params)
        widths = list(noisy_layer_params or ())
        self._stacks = [
            [
                # A layer takes two seeds.
                NoisyDense(
                    width,
                    activation_fn if place < len(widths) else None,
                    seed=None if seed is None else seed + first + 2 * (place + stack * (len(widths) + 1)),
                )
                for place, width in enumerate([*widths, outputs])
            ]
            for stack, outputs in enumerate([num_actions, 1] if dueling else [num_actions])
        ]

    @property
    def hidden_layers(self) -> list[keras.Layer]:
        """The noisy layers, without the last one of each stack."""
        return [layer for stack in self._stacks for layer in stack[:-1]]

    @property
    def num_noise(self) -> int:
        """Number of standard normal numbers that a call takes."""
        self.create_variables()
        return sum(layer.num_noise for stack in self._stacks for layer in stack)

    def call(
        self,
        observation: Any,
        step_type: Any = None,
        network_state: Any = (),
        training: bool = False,
        noise: tf.Tensor | None = None,
    ) -> Any:
        """Returns the values.

        Args:
            observation: Nest of ``[..., *shape]``.
            step_type: Ignored.
            network_state: Returned unchanged.
            training: Whether layers are in training mode.
            noise: Standard normal numbers, float32 ``[..., num_noise]``, or broadcast to these dimensions; None for
                none.

        Returns:
            float32 ``[..., num_actions]``, and ``network_state``.
        """
        encoding, network_state = self._encoder(
            observation, step_type=step_type, network_state=network_state, training=training
        )
        rank = outer_rank(observation, self.input_tensor_spec)
        encoding, used, outputs = flatten_inner(encoding, rank), 0, []
        for stack in self._stacks:
            values = encoding if rank else encoding[tf.newaxis]
            for layer in stack:
                own = None
                if noise is not None:
                    own, used = noise[..., used : used + layer.num_noise], used + layer.num_noise
                values = layer(values, noise=own)
            outputs.append(values if rank else values[0])
        if len(outputs) == 1:
            return outputs[0], network_state
        advantage, value = outputs
        return value + advantage - tf.reduce_mean(advantage, axis=-1, keepdims=True), network_state
