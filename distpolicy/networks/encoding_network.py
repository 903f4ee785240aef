"""EncodingNetwork: a network from observations to vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.keras_layers.arguments import takes_training
from distpolicy.networks.layer_stacks import (
    ConvLayerParams,
    DropoutLayerParams,
    conv_layers,
    copy_layer,
    default_initializer,
    dense_layers,
)
from distpolicy.networks.network import Network
from distpolicy.networks.utils import BatchSquash, flatten_inner, outer_rank
from distpolicy.utils.nests.array_nest import paths

# Keras' merging layers take a list of tensors.
_MERGE = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Concatenate,
    keras.layers.Dot,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)

# TF-Agents' names for what ``conv_type`` may be.
CONV_TYPE_2D, CONV_TYPE_1D = "2d", "1d"


class EncodingNetwork(Network):
    """Applies preprocessing layers, a combiner, convolutions and dense layers. Each of these is optional.

    Integers and bools are cast to floats, without scaling, before the first convolution or dense layer. To scale the
    bytes of an image to [0, 1], use a preprocessing layer. The output of the convolutions is flattened.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        preprocessing_layers: Nest like ``input_tensor_spec`` of Keras layers, Networks without state, or functions.
            Layers and networks are copied, with the weights of those that are built, such as trained ones: two
            encoders built with the same layers do not share weights. One layer at several leaves stays one.
        preprocessing_combiner: A Keras layer, Network or function that combines the list of preprocessed tensors into
            one tensor. Without ``preprocessing_layers`` it gets the observation. A layer is copied, too.
        conv_layer_params: ``(filters, kernel_size, strides[, dilation])`` for each convolution.
        fc_layer_params: Width of each dense layer.
        dropout_layer_params: For each dense layer a dropout rate, a dict with ``rate`` and ``permanent``, or None.
        activation_fn: Keras activation.
        weight_decay_params: For each dense layer a weight decay or None; see ``losses``.
        kernel_initializer: Keras initializer. If it has a seed of its own, the seed goes up by one from layer to layer.
        batch_squash: Whether layers always get exactly one batch dimension, instead of all outer dimensions.
        dtype: Dtype of the layers.
        name: Name of the module.
        conv_type: ``"2d"`` or ``"1d"``.
        seed: Seed of the initial weights, for an initializer without a seed of its own; None to draw one.

    Raises:
        ValueError: If the preprocessing layers do not match the specs, an observation of several tensors has no
            combiner, or parameters differ in length.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        conv_layer_params: ConvLayerParams | None = None,
        fc_layer_params: Sequence[int] | None = None,
        dropout_layer_params: DropoutLayerParams | None = None,
        activation_fn: Any = "relu",
        weight_decay_params: Sequence[float | None] | None = None,
        kernel_initializer: Any = None,
        batch_squash: bool = True,
        dtype: Any = tf.float32,
        name: str | None = "EncodingNetwork",
        conv_type: str = CONV_TYPE_2D,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        self._preprocessing_layers = _matched_layers(preprocessing_layers, self.input_tensor_spec, self.name)
        self._preprocessing_combiner = copy_layer(preprocessing_combiner, keep_weights=True)
        if preprocessing_combiner is None and len(tf.nest.flatten(self.input_tensor_spec)) > 1:
            raise ConfigError(
                f"{self.name}: an observation of several tensors needs a preprocessing_combiner; pass one"
            )
        initializer = default_initializer() if kernel_initializer is None else kernel_initializer
        self._conv_layers = conv_layers(conv_layer_params, activation_fn, initializer, conv_type, dtype, seed)
        self._layers = dense_layers(
            fc_layer_params,
            activation_fn,
            initializer,
            dropout_layer_params,
            weight_decay_params,
            dtype,
            seed,
            first_index=len(self._conv_layers),
        )
        self._batch_squash = batch_squash
        self._dtype = tf.as_dtype(dtype)
        # Dense layers accept any number of outer dimensions, so nothing needs to be squashed.
        self._only_dense = not self._conv_layers and preprocessing_layers is None and preprocessing_combiner is None

    @property
    def hidden_layers(self) -> list[keras.Layer]:
        """The dense layers and convolutions."""
        held = [self._preprocessing_layers, self._preprocessing_combiner, self._conv_layers, self._layers]
        kinds = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)
        return [layer for layer in tf.nest.flatten(held) if isinstance(layer, kinds)]

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the encoding.

        Args:
            observation: Nest of ``[..., *shape]``.
            step_type: Ignored.
            network_state: Returned unchanged.
            training: Whether dropout is active.

        Returns:
            float ``[..., units]``, and ``network_state``.
        """
        num_outer = outer_rank(observation, self.input_tensor_spec)
        squash = None
        if num_outer == 0 or (num_outer > 1 and self._batch_squash and not self._only_dense):
            squash = BatchSquash(num_outer)
            observation = tf.nest.map_structure(squash.flatten, observation)
            num_outer = 1
        values = tf.cast(self._combined(observation, training), self._dtype)
        for layer in self._conv_layers:
            values = layer(values)
        values = flatten_inner(values, num_outer)
        for layer in self._layers:
            values = layer(values) if isinstance(layer, keras.layers.Dense) else layer(values, training=training)
        return values if squash is None else squash.unflatten(values), network_state

    def _combined(self, observation: Any, training: bool) -> tf.Tensor:
        values = observation
        if self._preprocessing_layers is not None:
            pairs = zip(self._preprocessing_layers, tf.nest.flatten(observation), strict=True)
            values = [_apply(layer, value, training) for layer, value in pairs]
            if self._preprocessing_combiner is None:
                return values[0]
        if self._preprocessing_combiner is None:
            return tf.nest.flatten(values)[0]
        if isinstance(self._preprocessing_combiner, _MERGE):
            values = tf.nest.flatten(values)
        return _apply(self._preprocessing_combiner, values, training)


def _matched_layers(layers: Any, spec: Any, name: str) -> list[Any] | None:
    if layers is None:
        return None
    if paths(layers) != paths(spec):
        raise ConfigError(
            f"{name}: preprocessing_layers must be a nest like input_tensor_spec, with the leaves {paths(spec)}; "
            f"got {paths(layers)}"
        )
    given = tf.nest.flatten(layers)
    copies = {id(layer): copy_layer(layer, keep_weights=True) for layer in given}
    return [copies[id(layer)] for layer in given]


def _apply(layer: Callable[..., Any], values: Any, training: bool) -> Any:
    if isinstance(layer, Network):
        if tf.nest.flatten(layer.state_spec):
            raise ConfigError(f"network {layer.name} has a state; use networks without state for preprocessing")
        return layer(values, training=training)[0]
    if isinstance(layer, keras.Layer) and takes_training(layer):
        return layer(values, training=training)
    return layer(values)
