"""Helpers for outer dimensions that the networks share, and the helpers that TF-Agents has in this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.networks.layer_stacks import (
    ConvLayerParams,
    DropoutLayerParams,
    clone_initializer,
    conv_layers,
    default_initializer,
    dense_layers,
)

__all__ = [
    "BatchSquash",
    "apply_dense",
    "check_single_floating_network_output",
    "clone_initializer",
    "flatten_inner",
    "mlp_layers",
    "outer_rank",
    "with_inner_shape",
]


class BatchSquash:
    """Flattens any number of outer dimensions into one batch dimension, and restores them.

    Args:
        batch_dims: Number of outer dimensions; 0 for a single example.
    """

    def __init__(self, batch_dims: int) -> None:
        if batch_dims < 0:
            raise ConfigError(f"batch_dims must be 0 or more, but is {batch_dims}")
        self._batch_dims = batch_dims
        self._outer: Any = None

    def flatten(self, tensor: Any) -> tf.Tensor:
        """Flattens ``batch_dims`` outer dimensions into ``[B, ...]``, and keeps their sizes for :meth:`unflatten`."""
        tensor = tf.convert_to_tensor(tensor)
        if self._batch_dims == 0:
            return tensor[tf.newaxis]
        if self._batch_dims == 1:
            return tensor
        static = tensor.shape[: self._batch_dims]
        self._outer = static.as_list() if static.is_fully_defined() else tf.shape(tensor)[: self._batch_dims]
        return tf.reshape(tensor, _joined([-1], tensor, self._batch_dims))

    def unflatten(self, tensor: Any) -> tf.Tensor:
        """Gives a tensor ``[B, ...]`` the outer dimensions of the last tensor that was flattened.

        Raises:
            ValueError: If :meth:`flatten` has not been called.
        """
        tensor = tf.convert_to_tensor(tensor)
        if self._batch_dims == 0:
            return tf.squeeze(tensor, axis=0)
        if self._batch_dims == 1:
            return tensor
        if self._outer is None:
            raise ValueError("BatchSquash.unflatten was called before flatten; call flatten first")
        return tf.reshape(tensor, _joined(self._outer, tensor, 1))


def _joined(outer: Any, tensor: tf.Tensor, start: int) -> Any:
    """Joins ``outer`` and the tensor's dimensions from ``start`` on; makes no ops if all dimensions are known."""
    inner = tensor.shape[start:]
    if isinstance(outer, list) and inner.is_fully_defined():
        return [*outer, *inner.as_list()]
    known = tf.constant(inner.as_list(), tf.int32) if inner.is_fully_defined() else tf.shape(tensor)[start:]
    return tf.concat([tf.cast(outer, tf.int32), known], axis=0)


def outer_rank(nest: Any, spec: Any) -> int:
    """Returns the number of dimensions before the specs' shapes, as found in the first leaf."""
    leaf, leaf_spec = tf.nest.flatten(nest)[0], tf.nest.flatten(spec)[0]
    return leaf.shape.rank - leaf_spec.shape.rank


def flatten_inner(tensor: tf.Tensor, num_outer: int) -> tf.Tensor:
    """Flattens all dimensions after the first ``num_outer`` into one: ``[..., n]``."""
    if tensor.shape.rank == num_outer + 1:
        return tensor
    outer, size = tensor.shape[:num_outer], int(np.prod(tensor.shape[num_outer:]))
    if outer.rank and sum(length is None for length in outer) <= 1:
        return tf.reshape(tensor, [*[-1 if length is None else length for length in outer], size])
    return tf.reshape(tensor, tf.concat([tf.shape(tensor)[:num_outer], [size]], axis=0))


def with_inner_shape(tensor: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Reshapes a tensor ``[..., n]`` to ``[..., *shape]``."""
    if len(shape) == 1:
        return tensor
    outer = tensor.shape[:-1]
    if outer.is_fully_defined():
        return tf.reshape(tensor, [*outer.as_list(), *shape])
    return tf.reshape(tensor, tf.concat([tf.shape(tensor)[:-1], tf.constant(list(shape), tf.int32)], axis=0))


def apply_dense(layer: keras.Layer, inputs: tf.Tensor, num_outer: int | None = None) -> tf.Tensor:
    """Applies a dense layer to inputs ``[..., *shape]``: ``[..., units]``.

    Inputs may lack a batch dimension, which Keras layers do not accept.

    Args:
        layer: A layer for inputs ``[..., n]``.
        inputs: A tensor.
        num_outer: Number of outer dimensions of the inputs; None for all but the last.
    """
    num_outer = inputs.shape.rank - 1 if num_outer is None else num_outer
    inputs = flatten_inner(inputs, num_outer)
    return layer(inputs) if num_outer else tf.squeeze(layer(inputs[tf.newaxis]), axis=0)


def mlp_layers(
    conv_layer_params: ConvLayerParams | None = None,
    fc_layer_params: Sequence[int] | None = None,
    dropout_layer_params: DropoutLayerParams | None = None,
    activation_fn: Any = "relu",
    kernel_initializer: Any = None,
    weight_decay_params: Sequence[float | None] | None = None,
    name: str | None = None,
) -> list[keras.Layer]:
    """Builds convolutions, a Flatten layer, and dense layers with their dropouts.

    Args:
        conv_layer_params: See :func:`conv_layers`.
        fc_layer_params: See :func:`dense_layers`.
        dropout_layer_params: See :func:`dense_layers`.
        activation_fn: Keras activation.
        kernel_initializer: Initializer of the kernels; by default its variance depends on the number of inputs.
        weight_decay_params: See :func:`dense_layers`.
        name: Name of the Flatten layer.
    """
    initializer = default_initializer() if kernel_initializer is None else kernel_initializer
    return [
        *conv_layers(conv_layer_params, activation_fn, initializer),
        keras.layers.Flatten(name=name),
        *dense_layers(fc_layer_params, activation_fn, initializer, dropout_layer_params, weight_decay_params),
    ]


def check_single_floating_network_output(output_spec: Any, expected_output_shape: Sequence[int], label: str) -> None:
    """Raises an error unless a network's output is one float tensor of a shape.

    Args:
        output_spec: The result of ``create_variables``.
        expected_output_shape: The shape without batch dimensions.
        label: The network's name in the error message.

    Raises:
        ValueError: If the output is anything else.
    """
    expected = tf.TensorShape(expected_output_shape)
    if not isinstance(output_spec, tf.TensorSpec) or not output_spec.dtype.is_floating or output_spec.shape != expected:
        raise ConfigError(f"{label} must return one float tensor of shape {expected}, but returns {output_spec}")
