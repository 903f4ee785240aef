"""Functions that build stacks of layers with initial weights from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.keras_layers.permanent_variable_rate_dropout import PermanentVariableRateDropout

ConvLayerParams = Sequence[Sequence[Any]]
DropoutLayerParams = Sequence[float | dict[str, Any] | None]


def default_initializer() -> keras.initializers.Initializer:
    """Returns the default initializer of hidden layers."""
    return keras.initializers.VarianceScaling(scale=2.0, mode="fan_in", distribution="truncated_normal")


def clone_initializer(initializer: Any, index: int = 0, seed: int | None = None) -> Any:
    """Returns a copy of an initializer for one of several layers that share it.

    A Keras 3 initializer draws the same values every time, so two layers must not use the same one.

    Args:
        initializer: A Keras initializer, its name, or a function of shape and dtype. A function is returned unchanged.
        index: Number of the layer, which is added to the seed.
        seed: The seed, if the initializer does not have one of its own; None to draw one.
    """
    initializer = keras.initializers.get(initializer)
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if "seed" in config:
        base = config["seed"] if config["seed"] is not None else seed
        config["seed"] = base + index if isinstance(base, int | np.integer) else base
    return type(initializer).from_config(config)


def copy_layer(layer: Any, keep_weights: bool = False) -> Any:
    """Returns a copy of a layer or network with weights of its own. Any other callable is returned unchanged.

    Args:
        layer: A Keras layer or model, a Network, or a function.
        keep_weights: Whether the weights of a layer that is built already, such as a trained one, are copied, too. If
            False, the copy draws new ones.

    Raises:
        ValueError: If a layer's ``get_config`` fails.
    """
    if isinstance(layer, keras.Layer):
        try:
            copied = _without_weights(layer)
        except (NotImplementedError, TypeError) as error:
            raise ConfigError(
                f"layer {layer.name} cannot be copied; give {type(layer).__name__} a get_config method ({error})"
            ) from error
        if keep_weights and layer.built and layer.weights:
            if not copied.built:
                copied.build_from_config(layer.get_build_config())
            copied.set_weights(layer.get_weights())
        return copied
    if not hasattr(layer, "create_variables"):
        return layer
    copied = layer.copy()
    if keep_weights and layer.built and layer.input_tensor_spec is not None:
        for variable, value in zip(copied.variables, layer.variables, strict=True):
            variable.assign(value)
    return copied


def _without_weights(layer: keras.Layer) -> keras.Layer:
    """Returns a copy of a layer that is not built, with the functions of all Lambda layers in it.

    Keras cannot read a Lambda from a config: the function might be anything. So Lambdas are copied here, wherever they
    are.
    """
    if isinstance(layer, keras.layers.Lambda):
        return keras.layers.Lambda(layer.function, arguments=layer.arguments, name=layer.name, dtype=layer.dtype_policy)
    if type(layer) is keras.Sequential:
        inner_layers = [_without_weights(inner) for inner in layer.layers]
        return keras.Sequential(inner_layers, name=layer.name, trainable=layer.trainable)
    if type(layer) is keras.layers.TimeDistributed:
        return keras.layers.TimeDistributed(_without_weights(layer.layer), name=layer.name, trainable=layer.trainable)
    if not isinstance(layer, keras.Model):
        return type(layer).from_config(layer.get_config())
    is_functional = isinstance(layer, type(keras.Model(*[keras.Input((1,))] * 2)))
    return keras.models.clone_model(layer, clone_function=_without_weights if is_functional else None)


def conv_layers(
    conv_layer_params: ConvLayerParams | None,
    activation_fn: Any,
    kernel_initializer: Any,
    conv_type: str = "2d",
    dtype: Any = tf.float32,
    seed: int | None = None,
) -> list[keras.Layer]:
    """Builds convolutions without padding.

    Args:
        conv_layer_params: ``(filters, kernel_size, strides[, dilation])`` for each convolution.
        activation_fn: Keras activation.
        kernel_initializer: See :func:`clone_initializer`.
        conv_type: ``"2d"`` or ``"1d"``.
        dtype: Dtype of the layers.
        seed: Seed of the initial weights.

    Raises:
        ValueError: If ``conv_type`` or an entry of ``conv_layer_params`` is anything else.
    """
    kinds: dict[str, Callable[..., keras.Layer]] = {"2d": keras.layers.Conv2D, "1d": keras.layers.Conv1D}
    if conv_type not in kinds:
        raise ConfigError(f"conv_type must be '1d' or '2d', but is {conv_type!r}")
    layers = []
    for index, params in enumerate(conv_layer_params or ()):
        if len(params) not in (3, 4):
            raise ConfigError(
                f"conv_layer_params[{index}] must be (filters, kernel_size, strides[, dilation]), but is {params}"
            )
        filters, kernel_size, strides = params[:3]
        layers.append(
            kinds[conv_type](
                int(filters),
                kernel_size,
                strides=strides,
                dilation_rate=params[3] if len(params) == 4 else 1,
                activation=activation_fn,
                kernel_initializer=clone_initializer(kernel_initializer, index, seed),
                dtype=tf.as_dtype(dtype).name,
            )
        )
    return layers


def dense_layers(
    fc_layer_params: Sequence[int] | None,
    activation_fn: Any,
    kernel_initializer: Any,
    dropout_layer_params: DropoutLayerParams | None = None,
    weight_decay_params: Sequence[float | None] | None = None,
    dtype: Any = tf.float32,
    seed: int | None = None,
    first_index: int = 0,
) -> list[keras.Layer]:
    """Builds dense layers, each followed by a Dropout if it has a dropout rate.

    Args:
        fc_layer_params: Width of each layer.
        activation_fn: Keras activation.
        kernel_initializer: See :func:`clone_initializer`.
        dropout_layer_params: For each layer a rate, a dict with ``rate`` and ``permanent``, or None.
        weight_decay_params: For each layer the factor of its kernel's squared norm in the network's losses, or None.
        dtype: Dtype of the layers.
        seed: Seed of the initial weights.
        first_index: Place of the first layer among the layers that share the seed.

    Raises:
        ValueError: If the parameters differ in length.
    """
    widths = list(fc_layer_params or ())
    dropouts = list(dropout_layer_params or [None] * len(widths))
    decays = list(weight_decay_params or [None] * len(widths))
    for what, params in (("dropout_layer_params", dropouts), ("weight_decay_params", decays)):
        if len(params) != len(widths):
            raise ConfigError(f"{what} must have one entry for each of {len(widths)} dense layers, not {len(params)}")
    layers: list[keras.Layer] = []
    for index, (width, dropout, decay) in enumerate(zip(widths, dropouts, decays, strict=True)):
        layers.append(
            keras.layers.Dense(
                int(width),
                activation=activation_fn,
                kernel_initializer=clone_initializer(kernel_initializer, first_index + index, seed),
                kernel_regularizer=None if decay is None else keras.regularizers.L2(decay),
                dtype=tf.as_dtype(dtype).name,
            )
        )
        if dropout is not None:
            arguments = dropout if isinstance(dropout, dict) else {"rate": dropout}
            layers.append(PermanentVariableRateDropout(**arguments, seed=None if seed is None else seed + index))
    return layers


def num_layers(conv_layer_params: ConvLayerParams | None, fc_layer_params: Sequence[int] | None) -> int:
    """Returns the number of layers that the parameters describe, which is also the number of seeds that they use."""
    return len(conv_layer_params or ()) + len(fc_layer_params or ())
