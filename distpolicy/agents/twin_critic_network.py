"""TwinCriticNetwork: several critics of the same shape, computed as one batched product a layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.distributions.utils import action_scale
from distpolicy.errors import ConfigError
from distpolicy.networks.layer_stacks import copy_layer
from distpolicy.networks.network import Network
from distpolicy.networks.utils import flatten_inner


class TwinCriticNetwork(Network):
    """From an observation and an action to the values of N critics, which share nothing but the encoder.

    Actions are scaled to [-1, 1] first, where they have bounds. With ``num_actions`` it goes from an observation alone
    to the values of all actions.

    Args:
        input_tensor_spec: A pair: nest of specs of one observation, and nest of specs of one action of floats. With
            ``num_actions``, nest of specs of one observation.
        fc_layer_params: Width of each dense layer.
        activation_fn: Keras activation of the dense layers.
        encoder: From observations to encodings, without a state; it is copied. None for an observation of one leaf.
        num_critics: N.
        name: Name of the module.
        num_actions: Number of discrete actions; None for actions of floats.
        seed: Seed of the initial weights; None to draw one.

    Attributes:
        dtype_policy: In which dtype the products of hidden layers are computed. The last layer computes in float32.

    Raises:
        ValueError: If there is no encoder, and the observation has several leaves.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        fc_layer_params: Sequence[int] = (256, 256),
        activation_fn: Any = "relu",
        encoder: Network | None = None,
        num_critics: int = 2,
        name: str | None = "TwinCriticNetwork",
        *,
        num_actions: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        object.__setattr__(self, "_has_actions", num_actions is None)
        observation_spec, action_spec = self.input_tensor_spec if self._has_actions else (self.input_tensor_spec, ())
        self.encoder = copy_layer(encoder, keep_weights=True)
        encoding = observation_spec if self.encoder is None else self.encoder.create_variables()
        if len(leaves := tf.nest.flatten(encoding)) != 1:
            raise ConfigError(f"{self.name}: an observation of {len(leaves)} leaves needs an encoder; pass one")
        self.dtype_policy = keras.DTypePolicy("float32")
        self._activation = keras.activations.get(activation_fn)
        sizes = [np.prod(spec.shape, dtype=int) for spec in (*leaves, *tf.nest.flatten(action_spec))]
        widths = [int(sum(sizes)), *(int(width) for width in fc_layer_params), num_actions or 1]
        draws = np.random.default_rng(seed)
        self._kernels, self._biases = [], []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            bound = np.sqrt(1.0 / inputs)
            kernel = draws.uniform(-bound, bound, (num_critics, inputs, outputs)).astype(np.float32)
            self._kernels.append(tf.Variable(kernel, name=f"kernel_{index}"))
            self._biases.append(tf.Variable(tf.zeros([num_critics, 1, outputs]), name=f"bias_{index}"))

    @property
    def hidden_layers(self) -> list[Any]:
        """The network itself, if it has hidden layers."""
        return [self] if len(self._kernels) > 1 else []

    def call(
        self,
        inputs: Any,
        step_type: Any = None,
        network_state: Any = (),
        training: bool = False,
        num_critics: int | None = None,
    ) -> Any:
        """Returns the values.

        Args:
            inputs: A pair of the observation and the action, nests of ``[B, *shape]``; or the observation.
            step_type: Ignored.
            network_state: Returned unchanged.
            training: Whether dropout is active in the encoder.
            num_critics: N, to compute only the first ones; None for all.

        Returns:
            float32 ``[B, N]``, or ``[B, N, num_actions]``; and ``network_state``.
        """
        observation, action = inputs if self._has_actions else (inputs, ())
        action_spec = self.input_tensor_spec[1] if self._has_actions else ()
        if self.encoder is not None:
            observation, _ = self.encoder(observation, training=training)
        (encoding,) = tf.nest.flatten(observation)
        parts = [flatten_inner(tf.cast(encoding, tf.float32), 1)]
        for leaf, spec in zip(tf.nest.flatten(action), tf.nest.flatten(action_spec), strict=True):
            center, half_width = action_scale(spec)
            parts.append(flatten_inner(tf.cast((leaf - center) / half_width, tf.float32), 1))
        joined = tf.concat(parts, axis=-1)
        last, values = len(self._kernels) - 1, joined
        for place, (kernel, bias) in enumerate(zip(self._kernels, self._biases, strict=True)):
            dtype = tf.float32 if place == last else self.dtype_policy.compute_dtype
            kernel, bias = tf.cast(kernel[:num_critics], dtype), tf.cast(bias[:num_critics], dtype)
            if place == 0:
                values = tf.einsum("bi,nio->nbo", tf.cast(values, dtype), kernel) + bias
            else:
                values = tf.matmul(tf.cast(self._activation(values), dtype), kernel) + bias
        if self._has_actions:
            return tf.transpose(values[..., 0]), network_state
        return tf.transpose(values, [1, 0, 2]), network_state
