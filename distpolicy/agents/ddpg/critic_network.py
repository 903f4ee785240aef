"""CriticNetwork: an observation and an action in, their value out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.agents.ddpg.joint_encoder import JointEncoder
from distpolicy.networks.layer_stacks import ConvLayerParams, DropoutLayerParams, clone_initializer, copy_layer
from distpolicy.networks.network import Network
from distpolicy.networks.utils import apply_dense


class CriticNetwork(Network):
    """Layers for the observation, for the action and for both, and one output: float32 ``[B]``.

    Args:
        input_tensor_spec: A pair of the specs of one observation and one action, each a nest of one tensor.
        observation_conv_layer_params: Convolutions of the observation; see :class:`EncodingNetwork`.
        observation_fc_layer_params: Width of each dense layer of the observation.
        observation_dropout_layer_params: Their dropouts.
        action_fc_layer_params: Width of each dense layer of the action.
        action_dropout_layer_params: Their dropouts.
        joint_fc_layer_params: Width of each dense layer of both.
        joint_dropout_layer_params: Their dropouts.
        activation_fn: Keras activation of the hidden layers.
        output_activation_fn: Keras activation of the output; None for none.
        kernel_initializer: Of the hidden layers; uniform, scaled by the number of inputs, by default.
        last_kernel_initializer: Of the output layer; uniform in ±0.003 by default.
        last_layer: A Keras layer with one output in place of the dense one; it is copied.
        name: Name of the module.
        seed: Seed of the initial weights, for initializers without their own; None to draw one.

    Raises:
        ValueError: If the spec is not a pair, or holds several observations or actions.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        observation_conv_layer_params: ConvLayerParams | None = None,
        observation_fc_layer_params: Sequence[int] | None = None,
        observation_dropout_layer_params: DropoutLayerParams | None = None,
        action_fc_layer_params: Sequence[int] | None = None,
        action_dropout_layer_params: DropoutLayerParams | None = None,
        joint_fc_layer_params: Sequence[int] | None = None,
        joint_dropout_layer_params: DropoutLayerParams | None = None,
        activation_fn: Any = "relu",
        output_activation_fn: Any = None,
        kernel_initializer: Any = None,
        last_kernel_initializer: Any = None,
        last_layer: Callable[..., Any] | None = None,
        name: str | None = "CriticNetwork",
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        self._encoder = JointEncoder(
            self.input_tensor_spec,
            observation_conv_layer_params=observation_conv_layer_params,
            observation_fc_layer_params=observation_fc_layer_params,
            observation_dropout_layer_params=observation_dropout_layer_params,
            action_fc_layer_params=action_fc_layer_params,
            action_dropout_layer_params=action_dropout_layer_params,
            joint_fc_layer_params=joint_fc_layer_params,
            joint_dropout_layer_params=joint_dropout_layer_params,
            activation_fn=activation_fn,
            kernel_initializer=kernel_initializer,
            seed=seed,
        )
        if last_layer is None:
            last_seed = None if seed is None else seed + self._encoder.num_layers
            last_layer = critic_layer(last_kernel_initializer, output_activation_fn, last_seed)
        self._value = copy_layer(last_layer)

    def call(self, inputs: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the value.

        Args:
            inputs: A pair of the observation and the action, ``[..., *shape]`` each.
            step_type: Has no effect.
            network_state: Is returned as it is.
            training: Whether dropout acts.

        Returns:
            float32 ``[...]``, and ``network_state``.
        """
        encoding, network_state = self._encoder(inputs, network_state=network_state, training=training)
        return tf.squeeze(apply_dense(self._value, encoding), axis=-1), network_state


def critic_layer(kernel_initializer: Any, activation_fn: Any, seed: int | None) -> keras.layers.Dense:
    """The output layer of a critic."""
    if kernel_initializer is None:
        kernel_initializer = keras.initializers.RandomUniform(-0.003, 0.003)
    return keras.layers.Dense(
        1, activation=activation_fn, kernel_initializer=clone_initializer(kernel_initializer, 0, seed)
    )
