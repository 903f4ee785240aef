"""JointEncoder: an observation and an action in, a vector out; the first part of critics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import ConvLayerParams, DropoutLayerParams, clone_initializer, num_layers
from distpolicy.networks.network import Network


def fan_in_initializer() -> keras.initializers.Initializer:
    """Returns an initializer, uniform in ± one over the root of the number of inputs.

    See Lillicrap et al., 2016, section 7.
    """
    return keras.initializers.VarianceScaling(scale=1.0 / 3.0, mode="fan_in", distribution="uniform")


def single_spec(nest: Any, what: str) -> Any:
    """Returns the only spec of a nest.

    Raises:
        ValueError: If there are more.
    """
    leaves = tf.nest.flatten(nest)
    if len(leaves) != 1:
        raise ConfigError(f"only a single {what} is supported, but the spec holds {len(leaves)}")
    return leaves[0]


class JointEncoder(Network):
    """An encoder of an observation and an action, first each by itself, then both together.

    Args:
        input_tensor_spec: A pair of the specs of one observation and one action, each a nest of one tensor.
        observation_conv_layer_params: Convolutions of the observation; see :class:`EncodingNetwork`.
        observation_fc_layer_params: Width of each dense layer of the observation.
        observation_dropout_layer_params: Their dropouts.
        action_fc_layer_params: Width of each dense layer of the action.
        action_dropout_layer_params: Their dropouts.
        joint_fc_layer_params: Width of each dense layer of both.
        joint_dropout_layer_params: Their dropouts.
        activation_fn: Keras activation.
        kernel_initializer: Keras initializer; None for :func:`fan_in_initializer`.
        seed: Seed of the initial weights, for initializers without their own; None to draw one.
        name: Name of the module.

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
        kernel_initializer: Any = None,
        seed: int | None = None,
        name: str | None = "JointEncoder",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        if not isinstance(self.input_tensor_spec, list | tuple) or len(self.input_tensor_spec) != 2:
            raise ConfigError(f"input_tensor_spec must be (observation_spec, action_spec), not {input_tensor_spec}")
        initializer = fan_in_initializer() if kernel_initializer is None else kernel_initializer
        observation = single_spec(self.input_tensor_spec[0], "observation")
        action = single_spec(self.input_tensor_spec[1], "action")
        # Seeds go up from encoder to encoder, so that no two layers draw the same.
        seed_of = _SeedCounter(initializer, seed)
        self._observation_encoder = EncodingNetwork(
            observation,
            conv_layer_params=observation_conv_layer_params,
            fc_layer_params=observation_fc_layer_params,
            dropout_layer_params=observation_dropout_layer_params,
            activation_fn=activation_fn,
            **seed_of.next(num_layers(observation_conv_layer_params, observation_fc_layer_params)),
            name="observation_encoder",
        )
        self._action_encoder = EncodingNetwork(
            action,
            fc_layer_params=action_fc_layer_params,
            dropout_layer_params=action_dropout_layer_params,
            activation_fn=activation_fn,
            **seed_of.next(num_layers(None, action_fc_layer_params)),
            name="action_encoder",
        )
        widths = [encoder.create_variables().shape[0] for encoder in (self._observation_encoder, self._action_encoder)]
        self._joint_encoder = EncodingNetwork(
            tf.TensorSpec((sum(widths),), tf.float32),
            fc_layer_params=joint_fc_layer_params,
            dropout_layer_params=joint_dropout_layer_params,
            activation_fn=activation_fn,
            **seed_of.next(num_layers(None, joint_fc_layer_params)),
            name="joint_encoder",
        )
        self._num_layers = seed_of.count

    @property
    def num_layers(self) -> int:
        """Number of seeds that the initial weights use."""
        return self._num_layers

    def call(self, inputs: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the encoding.

        Args:
            inputs: A pair of the observation and the action, ``[..., *shape]`` each.
            step_type: Has no effect.
            network_state: Is returned as it is.
            training: Whether dropout acts.

        Returns:
            float32 ``[..., units]``, and ``network_state``.
        """
        observation, action = (tf.nest.flatten(part)[0] for part in inputs)
        parts = [
            self._observation_encoder(observation, training=training)[0],
            self._action_encoder(action, training=training)[0],
        ]
        return self._joint_encoder(tf.concat(parts, axis=-1), training=training)[0], network_state


class _SeedCounter:
    """Initializers and seeds for one encoder after the other."""

    def __init__(self, initializer: Any, seed: int | None) -> None:
        self._initializer, self._seed = initializer, seed
        self.count = 0

    def next(self, num: int) -> dict[str, Any]:
        """Returns the arguments of an encoder of ``num`` layers."""
        arguments = {
            "kernel_initializer": clone_initializer(self._initializer, self.count),
            "seed": None if self._seed is None else self._seed + self.count,
        }
        self.count += num
        return arguments
