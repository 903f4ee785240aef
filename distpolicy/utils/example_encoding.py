"""Encoding of nests of arrays as ``tf.train.Example``, in the format of TF-Agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.utils.nest_utils import flatten_with_joined_paths

_DTYPES = frozenset(
    {"float16", "float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64"},
)


def get_example_encoder(
    spec: Any, compress_image: bool = False, image_quality: int = 95
) -> Callable[[Any], tf.train.Example]:
    """Returns a function from a nest of arrays to a ``tf.train.Example``.

    Float32 and int64 arrays become lists of numbers, others their bytes in little-endian order, images JPEG on request.

    Args:
        spec: Nest of array specs.
        compress_image: Whether uint8 arrays of three dimensions ``[height, width, channels]`` are JPEG images, which
            loses detail.
        image_quality: Quality of these images, from 0 to 100.

    Raises:
        ValueError: If a leaf has a dimension without a length or a dtype that cannot be encoded. The function raises it
            if arrays do not match the specs.
    """
    encoders = [(path, _leaf_encoder(leaf, compress_image, image_quality)) for path, leaf in _leaves(spec)]

    def encode(features_nest: Any) -> tf.train.Example:
        leaves = tf.nest.flatten(features_nest)
        if len(leaves) != len(encoders):
            raise SpecMismatchError(f"the nest has {len(leaves)} leaves, but its spec has {len(encoders)}")
        features = {path: encoder(leaf) for (path, encoder), leaf in zip(encoders, leaves, strict=True)}
        return tf.train.Example(features=tf.train.Features(feature=features))

    return encode


def get_example_serializer(spec: Any, compress_image: bool = False, image_quality: int = 95) -> Callable[[Any], bytes]:
    """Returns a function from a nest of arrays to the bytes of an example; see :func:`get_example_encoder`."""
    encode = get_example_encoder(spec, compress_image, image_quality)
    return lambda features_nest: encode(features_nest).SerializeToString()


def get_example_decoder(example_spec: Any, batched: bool = False, compress_image: bool = False) -> Callable[[Any], Any]:
    """Returns a function from the bytes of an example to a nest of tensors. It may be a part of a graph.

    Args:
        example_spec: Nest of array specs.
        batched: Whether the function takes a vector of examples, and returns tensors ``[B, ...]``.
        compress_image: What the encoder was made with.

    Raises:
        ValueError: If a leaf has a dimension without a length or a dtype that cannot be encoded.
    """
    leaves = _leaves(example_spec)
    features = {path: _leaf_feature(leaf, compress_image) for path, leaf in leaves}

    def decode(serialized: Any) -> Any:
        parse = tf.io.parse_example if batched else tf.io.parse_single_example
        raw = parse(serialized, features)
        tensors = []
        for path, leaf in leaves:
            one = _leaf_decoder(leaf, compress_image)
            spec = tf.TensorSpec(leaf.shape, leaf.dtype)
            tensors.append(tf.map_fn(one, raw[path], fn_output_signature=spec) if batched else one(raw[path]))
        return tf.nest.pack_sequence_as(example_spec, tensors)

    return decode


def _leaves(spec: Any) -> list[tuple[str, Any]]:
    leaves = flatten_with_joined_paths(spec)
    for path, leaf in leaves:
        if not all(isinstance(length, int | np.integer) and length > 0 for length in leaf.shape):
            raise ConfigError(f"{path}: every dimension must have a positive length, but the shape is {leaf.shape}")
        if np.dtype(leaf.dtype).name not in _DTYPES:
            raise ConfigError(f"{path}: dtype must be one of {sorted(_DTYPES)}, not {leaf.dtype}")
    return leaves


def _is_image(spec: Any, compress_image: bool) -> bool:
    return compress_image and len(spec.shape) == 3 and spec.dtype == np.uint8


def _leaf_encoder(spec: Any, compress_image: bool, quality: int) -> Callable[[Any], tf.train.Feature]:
    def encode(value: Any) -> tf.train.Feature:
        array = np.asarray(value)
        if array.shape != tuple(spec.shape) or array.dtype.newbyteorder("=") != np.dtype(spec.dtype):
            raise SpecMismatchError(f"expected {spec.dtype} of shape {spec.shape}, got {array.dtype} of {array.shape}")
        if _is_image(spec, compress_image):
            data = tf.io.encode_jpeg(array, quality=quality).numpy()
        elif spec.dtype == np.float32:
            return tf.train.Feature(float_list=tf.train.FloatList(value=array.ravel().tolist()))
        elif spec.dtype == np.int64:
            return tf.train.Feature(int64_list=tf.train.Int64List(value=array.ravel().tolist()))
        else:
            data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))

    return encode


def _leaf_feature(spec: Any, compress_image: bool) -> tf.io.FixedLenFeature:
    if spec.dtype in (np.float32, np.int64):
        return tf.io.FixedLenFeature(list(spec.shape), spec.dtype)
    return tf.io.FixedLenFeature([], tf.string)


def _leaf_decoder(spec: Any, compress_image: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    if spec.dtype in (np.float32, np.int64):
        return tf.identity
    if _is_image(spec, compress_image):
        return lambda data: tf.ensure_shape(tf.io.decode_jpeg(data, channels=spec.shape[-1]), spec.shape)
    return lambda data: tf.reshape(tf.io.decode_raw(data, spec.dtype), spec.shape)
