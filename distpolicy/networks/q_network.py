"""QNetwork: a network from observations to the values of all actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import ConvLayerParams, DropoutLayerParams, clone_initializer, num_layers
from distpolicy.networks.network import Network
from distpolicy.networks.utils import apply_dense, outer_rank
from distpolicy.specs import tensor_spec


def count_actions(action_spec: Any) -> int:
    """Returns the number of actions of a nest of one bounded discrete spec of shape ``()`` or ``(1,)``.

    Raises:
        ValueError: If the spec is anything else.
    """
    leaves = tf.nest.flatten(tensor_spec.from_spec(action_spec))
    if len(leaves) != 1:
        raise ConfigError(f"a Q-network takes one action, but action_spec holds {len(leaves)}")
    spec = leaves[0]
    if not tensor_spec.is_bounded(spec) or not tensor_spec.is_discrete(spec) or spec.shape.as_list() not in ([], [1]):
        raise ConfigError(f"a Q-network takes one bounded discrete action of shape () or (1,), not {spec}")
    return int(np.max(spec.maximum)) - int(np.min(spec.minimum)) + 1


def q_layer(
    num_outputs: int, activation_fn: Any = None, dtype: Any = tf.float32, seed: int | None = None
) -> keras.layers.Dense:
    """Returns the last layer, with small initial weights and initial values slightly below 0."""
    return keras.layers.Dense(
        num_outputs,
        activation=activation_fn,
        kernel_initializer=clone_initializer(keras.initializers.RandomUniform(-0.03, 0.03), 0, seed),
        bias_initializer=keras.initializers.Constant(-0.2),
        dtype=tf.as_dtype(dtype).name,
    )


class QNetwork(Network):
    """Encodes an observation and returns a value for each action: float32 ``[B, num_actions]``.

    The first output is the value of the spec's minimum.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        action_spec: Bounded discrete spec of shape ``()`` or ``(1,)``.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        fc_layer_params: Width of each dense layer.
        dropout_layer_params: See :class:`EncodingNetwork`.
        activation_fn: Keras activation of the hidden layers.
        kernel_initializer: Initializer of the hidden layers' kernels.
        batch_squash: See :class:`EncodingNetwork`.
        dtype: Dtype of the layers.
        q_layer_activation_fn: Keras activation of the outputs; None for none.
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
        fc_layer_params: Sequence[int] | None = (75, 40),
        dropout_layer_params: DropoutLayerParams | None = None,
        activation_fn: Any = "relu",
        kernel_initializer: Any = None,
        batch_squash: bool = True,
        dtype: Any = tf.float32,
        q_layer_activation_fn: Any = None,
        name: str | None = "QNetwork",
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
            dropout_layer_params=dropout_layer_params,
            activation_fn=activation_fn,
            kernel_initializer=kernel_initializer,
            batch_squash=batch_squash,
            dtype=dtype,
            seed=seed,
        )
        last_seed = None if seed is None else seed + num_layers(conv_layer_params, fc_layer_params)
        self._q_value = q_layer(num_actions, q_layer_activation_fn, dtype, last_seed)

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the values.

        Args:
            observation: Nest of ``[..., *shape]``.
            step_type: Ignored.
            network_state: Returned unchanged.
            training: Whether dropout is active.

        Returns:
            float ``[..., num_actions]``, and ``network_state``.
        """
        encoding, network_state = self._encoder(
            observation, step_type=step_type, network_state=network_state, training=training
        )
        return apply_dense(self._q_value, encoding, outer_rank(observation, self.input_tensor_spec)), network_state
