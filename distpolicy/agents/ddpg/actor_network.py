"""ActorNetwork: an observation in, an action within its bounds out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.agents.ddpg.joint_encoder import fan_in_initializer, single_spec
from distpolicy.distributions.utils import action_scale, bounded_elements
from distpolicy.errors import ConfigError
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import ConvLayerParams, DropoutLayerParams, clone_initializer, num_layers
from distpolicy.networks.network import Network
from distpolicy.networks.utils import apply_dense, with_inner_shape
from distpolicy.specs import tensor_spec


class ActorNetwork(Network):
    """Convolutions and dense layers, and one output by tanh within the bounds of the action.

    Args:
        input_tensor_spec: Nest of the spec of one observation, one tensor.
        output_tensor_spec: Nest of one bounded spec of floats, with finite bounds.
        fc_layer_params: Width of each dense layer.
        dropout_layer_params: Their dropouts; see :class:`EncodingNetwork`.
        conv_layer_params: Convolutions; the same.
        activation_fn: Keras activation of the hidden layers.
        kernel_initializer: Of the hidden layers; uniform, scaled by the number of inputs, by default.
        last_kernel_initializer: Of the output layer; uniform in ±0.003 by default.
        name: Name of the module.
        seed: Seed of the initial weights, for initializers without their own; None to draw one.

    Raises:
        ValueError: If there are several observations or actions, or the action is not of floats with finite bounds.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: Any,
        fc_layer_params: Sequence[int] | None = None,
        dropout_layer_params: DropoutLayerParams | None = None,
        conv_layer_params: ConvLayerParams | None = None,
        activation_fn: Any = "relu",
        kernel_initializer: Any = None,
        last_kernel_initializer: Any = None,
        name: str | None = "ActorNetwork",
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        object.__setattr__(self, "_output_tensor_spec", tensor_spec.from_spec(output_tensor_spec))
        self._action_spec = single_spec(self._output_tensor_spec, "action")
        if not tensor_spec.is_continuous(self._action_spec) or not bounded_elements(self._action_spec).all():
            raise ConfigError(f"{self.name}: the action must be of floats with finite bounds, not {self._action_spec}")
        self._encoder = EncodingNetwork(
            single_spec(self.input_tensor_spec, "observation"),
            conv_layer_params=conv_layer_params,
            fc_layer_params=fc_layer_params,
            dropout_layer_params=dropout_layer_params,
            activation_fn=activation_fn,
            kernel_initializer=fan_in_initializer() if kernel_initializer is None else kernel_initializer,
            seed=seed,
        )
        if last_kernel_initializer is None:
            last_kernel_initializer = keras.initializers.RandomUniform(-0.003, 0.003)
        last_seed = None if seed is None else seed + num_layers(conv_layer_params, fc_layer_params)
        self._action = keras.layers.Dense(
            int(np.prod(self._action_spec.shape.as_list())),
            activation="tanh",
            kernel_initializer=clone_initializer(last_kernel_initializer, 0, last_seed),
        )

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the action.

        Args:
            observation: Nest of one tensor ``[..., *shape]``.
            step_type: Has no effect.
            network_state: Is returned as it is.
            training: Whether dropout acts.

        Returns:
            A nest like ``output_tensor_spec`` of one tensor ``[..., *shape]``, and ``network_state``.
        """
        encoding, _ = self._encoder(tf.nest.flatten(observation)[0], training=training)
        spec = self._action_spec
        squashed = with_inner_shape(apply_dense(self._action, encoding), spec.shape.as_list())
        center, half_width = action_scale(spec)
        action = center + half_width * tf.cast(squashed, spec.dtype)
        return tf.nest.pack_sequence_as(self._output_tensor_spec, [action]), network_state
