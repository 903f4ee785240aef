"""preprocessing_for: preprocessing layers for any observation that Gymnasium's spaces can describe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import ConvLayerParams, clone_initializer
from distpolicy.networks.observation_layers import (
    FlatFloats,
    LogIntegers,
    OneHotIntegers,
    ScaledImage,
    ScaledIntegers,
)
from distpolicy.specs import tensor_spec
from distpolicy.utils.nests.array_nest import paths

# Mnih et al., "Human-level control through deep reinforcement learning", 2015.
NATURE_CONV_LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))

# The shortest image side that the layers above can process.
_NATURE_SIDE = 36

# Up to here float32 represents every integer exactly.
_MAX_RANGE = 2**24


def preprocessing_for(
    observation_spec: Any,
    *,
    conv_layer_params: ConvLayerParams = (),
    activation_fn: Any = "relu",
    kernel_initializer: Any = None,
    max_one_hot_width: int = 1024,
    dtype: Any = tf.float32,
    seed: int | None = None,
) -> tuple[Any, Any]:
    """Returns the ``preprocessing_layers`` and the ``preprocessing_combiner`` for an :class:`EncodingNetwork`.

    Every network with an encoder takes them. A layer turns each leaf, in its own dtype, into a vector. The combiner
    concatenates the vectors in ``tf.nest``'s order.

    - Images (uint8 of rank 2 to 4, see :class:`ScaledImage`) are scaled to [0, 1] and convolved.
    - Other integers with bounds become one-hot vectors. If these would be too wide, the integers are scaled to [0, 1].
      Zeros and ones stay zeros and ones.
    - Integers without bounds, or with their dtype's bounds, become ``sign(x) log(1 + |x|)``. Unscaled, a large counter
      would dominate everything else; scaled by bounds such as 2^31, a small one would vanish.
    - Bools become 0 and 1. Floats stay unchanged, since an observation normaliser scales them.

    Args:
        observation_spec: Nest of specs of one observation.
        conv_layer_params: ``(filters, kernel_size, strides[, dilation])`` for each convolution, for all images. Empty
            for :data:`NATURE_CONV_LAYERS`, or fewer and smaller convolutions for images smaller than 36x36.
        activation_fn: Keras activation of the convolutions.
        kernel_initializer: Initializer of the convolutions' kernels; see :class:`EncodingNetwork`.
        max_one_hot_width: Largest number of one-hot columns for one leaf.
        dtype: Dtype of the layers.
        seed: Seed of the initial weights, for an initializer without a seed of its own; None to draw one.

    Returns:
        A nest of layers like ``observation_spec``, and a layer that joins their outputs, or None if there is only one.
        ``(None, None)`` for an observation of one leaf of floats, which networks take directly.

    Raises:
        SpecMismatchError: If a leaf holds neither numbers nor bools, its shape is open, or there is no leaf.
        ConfigError: If an image is too small for the convolutions. The message names the leaf.
    """
    specs = tensor_spec.from_spec(observation_spec)
    leaves = tf.nest.flatten(specs)
    if not leaves:
        raise SpecMismatchError("an observation without any leaf cannot be encoded")
    if len(leaves) == 1 and leaves[0].dtype.is_floating:
        return None, None
    dtype_name = tf.as_dtype(dtype).name
    layers: list[Any] = []
    num_convolutions = 0
    for leaf, path in zip(leaves, paths(specs), strict=True):
        name = f"observation{path}"
        _check_encodable(leaf, name)
        layer = _layer(leaf, max_one_hot_width, dtype_name)
        if isinstance(layer, ScaledImage):
            params = conv_layer_params or default_conv_layers(layer.image_shape)
            _check_fit(params, layer.image_shape, name)
            layer = EncodingNetwork(
                leaf,
                preprocessing_layers=layer,
                conv_layer_params=params,
                activation_fn=activation_fn,
                # The convolutions of two images must not start with the same weights.
                kernel_initializer=None
                if kernel_initializer is None
                else clone_initializer(kernel_initializer, num_convolutions, seed),
                dtype=dtype,
                name="image_encoder",
                seed=None if seed is None else seed + num_convolutions,
            )
            num_convolutions += len(params)
        layers.append(layer)
    combiner = keras.layers.Concatenate(dtype=dtype_name) if len(layers) > 1 else None
    return tf.nest.pack_sequence_as(specs, layers), combiner


def default_conv_layers(image_shape: Sequence[int]) -> ConvLayerParams:
    """Returns the default convolutions for images ``[height, width, channels]``; see :func:`preprocessing_for`."""
    side = min(image_shape[:2])
    if side >= _NATURE_SIDE:
        return NATURE_CONV_LAYERS
    params: list[tuple[int, int, int]] = []
    for filters in (32, 64, 64):
        # A side of 5 is the smallest one with 3x3 outputs.
        if params and side < 5:
            break
        params.append((filters, 3, 2 if side >= 12 else 1))
        side = (side - 3) // params[-1][2] + 1
    return tuple(params)


def _layer(spec: Any, max_one_hot_width: int, dtype: str) -> keras.layers.Layer:
    shape = tuple(spec.shape.as_list())
    if spec.dtype.is_floating or spec.dtype == tf.bool:
        return FlatFloats(shape, dtype=dtype)
    if not tensor_spec.is_bounded(spec):
        return LogIntegers(shape, dtype=dtype)
    minimum, maximum = (
        [int(bound) for bound in np.broadcast_to(bounds, shape).ravel()] for bounds in (spec.minimum, spec.maximum)
    )
    if _is_image(spec):
        return ScaledImage(shape, min(minimum), max(maximum), dtype=dtype)
    ranges = [high - low for low, high in zip(minimum, maximum, strict=True)]
    if max(ranges, default=0) <= 1:
        return ScaledIntegers(shape, minimum, maximum, dtype=dtype)
    if sum(ranges) + len(ranges) <= max_one_hot_width:
        return OneHotIntegers(shape, minimum, maximum, dtype=dtype)
    if max(ranges) > _MAX_RANGE or _has_bounds_of_its_dtype(spec.dtype, minimum, maximum):
        return LogIntegers(shape, dtype=dtype)
    return ScaledIntegers(shape, minimum, maximum, dtype=dtype)


def _is_image(spec: Any) -> bool:
    # A 3x3 convolution needs at least three rows and columns.
    return spec.dtype == tf.uint8 and 2 <= spec.shape.rank <= 4 and min(ScaledImage(spec.shape).image_shape[:2]) >= 3


def _has_bounds_of_its_dtype(dtype: tf.DType, minimum: list[int], maximum: list[int]) -> bool:
    """Returns True if the bounds are the dtype's, as in a Box without bounds. A byte's 0 and 255 are real bounds."""
    signed = dtype.min < 0
    return dtype.size > 1 and (max(maximum) == dtype.max or (signed and min(minimum) == dtype.min))


def _check_encodable(spec: Any, name: str) -> None:
    if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype == tf.bool):
        raise SpecMismatchError(f"{name} is of dtype {spec.dtype.name}; only numbers and bools can be encoded")
    if not spec.shape.is_fully_defined():
        raise SpecMismatchError(f"{name} has the open shape {spec.shape}; give its spec all dimensions")


def _check_fit(params: ConvLayerParams, image_shape: Sequence[int], name: str) -> None:
    """Raises ConfigError if a convolution is larger than its input, which shrinks from layer to layer."""
    sides = np.array(image_shape[:2])
    for index, (_, kernel_size, strides, *dilation) in enumerate(params):
        extent = (np.array(kernel_size) - 1) * np.array(dilation[0] if dilation else 1) + 1
        if np.any(extent > sides):
            raise ConfigError(
                f"conv_layer_params[{index}] {tuple(params[index])} is larger than its {sides[0]}x{sides[1]} input "
                f"from {name}, an image of {image_shape[0]}x{image_shape[1]}; give smaller convolutions, or none"
            )
        sides = (sides - extent) // np.array(strides) + 1
