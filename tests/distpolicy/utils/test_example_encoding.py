from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.specs.array_spec import ArraySpec
from distpolicy.utils import example_encoding

DTYPES = ["float16", "float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64"]
SPEC = {name: ArraySpec((2, 3), np.dtype(name)) for name in DTYPES} | {"nest": (ArraySpec((), np.float32),)}


def values(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0, 100, (2, 3)).astype(name) for name in DTYPES} | {"nest": (np.float32(seed),)}


def test_what_is_encoded_is_decoded() -> None:
    encode = example_encoding.get_example_serializer(SPEC)
    decode = example_encoding.get_example_decoder(SPEC)
    found = tf.function(decode)(encode(values(1)))
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(values(1)), strict=True):
        assert one.dtype == tf.as_dtype(other.dtype)
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_vector_of_examples_is_decoded() -> None:
    encode = example_encoding.get_example_serializer(SPEC)
    decode = example_encoding.get_example_decoder(SPEC, batched=True)
    found = decode(tf.constant([encode(values(1)), encode(values(2))]))
    for one, first, second in zip(*map(tf.nest.flatten, (found, values(1), values(2))), strict=True):
        np.testing.assert_array_equal(one, np.stack([first, second]))


def test_the_format_is_lists_of_numbers_and_little_endian_bytes() -> None:
    spec = {"a": ArraySpec((2,), np.float32), "b": {"c": ArraySpec((2,), np.int64), "d": ArraySpec((2,), np.int16)}}
    items = {"a": np.array([1.5, 2.0], np.float32), "b": {"c": np.array([1, 2]), "d": np.array([1, 256], ">i2")}}
    features = example_encoding.get_example_encoder(spec)(items).features.feature
    assert list(features["a"].float_list.value) == [1.5, 2.0]
    assert list(features["b/c"].int64_list.value) == [1, 2]
    assert features["b/d"].bytes_list.value[0] == b"\x01\x00\x00\x01"


@pytest.mark.parametrize("channels", [1, 3])
def test_images_can_be_compressed(channels: int) -> None:
    spec = {"image": ArraySpec((16, 24, channels), np.uint8)}
    image = np.tile(np.arange(16, dtype=np.uint8)[:, None, None] * 10, (1, 24, channels))
    encode = example_encoding.get_example_serializer(spec, compress_image=True, image_quality=100)
    decode = example_encoding.get_example_decoder(spec, compress_image=True)
    found = decode(encode({"image": image}))["image"]
    assert found.shape == image.shape
    np.testing.assert_allclose(found, image, atol=4)
    small = example_encoding.get_example_serializer(spec, compress_image=True, image_quality=1)({"image": image})
    assert len(small) < len(encode({"image": image}))


def test_what_does_not_fit_is_refused() -> None:
    encode = example_encoding.get_example_encoder({"a": ArraySpec((2,), np.float32)})
    with pytest.raises(ValueError, match="expected float32"):
        encode({"a": np.zeros(2)})
    with pytest.raises(ValueError, match="expected float32 of shape"):
        encode({"a": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="2 leaves"):
        encode({"a": np.zeros(2, np.float32), "b": 1})
    with pytest.raises(ValueError, match="dtype must be one of"):
        example_encoding.get_example_encoder(ArraySpec((2,), np.bool_))
    with pytest.raises(ValueError, match="positive length"):
        example_encoding.get_example_decoder(ArraySpec((2, 0), np.float32))
