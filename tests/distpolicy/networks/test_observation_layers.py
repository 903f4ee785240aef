"""The layers of single leaves equal plain NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.observation_layers import (
    FlatFloats,
    LogIntegers,
    OneHotIntegers,
    ScaledImage,
    ScaledIntegers,
)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)


def test_one_hot_has_a_column_for_every_value_of_every_element() -> None:
    layer = OneHotIntegers((2,), (-1, 4), (1, 5))
    found = layer(np.array([[-1, 5], [0, 4], [1, 4]], np.int16))
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, [[1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 1, 0]])


def test_one_hot_of_a_scalar_with_a_start() -> None:
    layer = OneHotIntegers((), (7,), (9,))
    np.testing.assert_array_equal(layer(np.array([8, 7, 9])), [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(layer(np.array([[8], [9]])), [[[0, 1, 0]], [[0, 0, 1]]])


def test_an_integer_out_of_its_bounds_has_no_column() -> None:
    np.testing.assert_array_equal(OneHotIntegers((), (0,), (2,))(np.array([-1, 3])), np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64])
def test_every_integer_dtype_is_counted_from_its_own_bounds(dtype: Any) -> None:
    info = np.iinfo(dtype)
    for low in (int(info.min), int(info.max) - 4):
        values = np.array([low + place for place in range(5)], dtype)
        np.testing.assert_array_equal(OneHotIntegers((), (low,), (low + 4,))(values), np.eye(5))
        scaled = ScaledIntegers((1,), (low,), (low + 4,))(values[:, np.newaxis])
        np.testing.assert_array_equal(scaled, [[0.0], [0.25], [0.5], [0.75], [1.0]])


def test_scaled_elements_have_bounds_of_their_own() -> None:
    layer = ScaledIntegers((2, 2), (0, 0, -10, 3), (1, 4, 10, 3))
    np.testing.assert_array_equal(layer(np.array([[[1, 1], [0, 3]]], np.int32)), [[1.0, 0.25, 0.5, 0.0]])


def test_logarithms_keep_sign_and_order_and_stay_finite() -> None:
    values = np.array([-(2**63), -5, -1, 0, 1, 2, 1000, 2**63 - 1])
    found = LogIntegers((8,))(values[np.newaxis]).numpy()[0]
    np.testing.assert_allclose(found, np.sign(values) * np.log1p(np.abs(values.astype(np.float64))), rtol=1e-6)
    assert (np.diff(found) > 0).all()
    assert np.isfinite(LogIntegers((1,), dtype="float16")(np.array([[2**63 - 1]]))).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.bool_])
def test_floats_and_bools_are_flattened_to_float32(dtype: Any) -> None:
    values = np.array([[[0, 1, 1], [1, 0, 1]]], dtype)
    found = FlatFloats((2, 3))(values)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, [[0, 1, 1, 1, 0, 1]])


@pytest.mark.parametrize(
    ("shape", "image_shape", "order"),
    [
        ((6, 8), (6, 8, 1), "hw"),
        ((6, 8, 3), (6, 8, 3), "hwc"),
        ((4, 84, 84), (84, 84, 4), "chw"),
        ((3, 6, 5), (6, 5, 3), "chw"),
        ((5, 8, 5), (5, 8, 5), "hwc"),
        ((4, 6, 8, 3), (6, 8, 12), "shwc"),
        ((4, 3, 6, 8), (6, 8, 12), "schw"),
    ],
)
@pytest.mark.parametrize("outer", [(2,), (2, 3)])
def test_images_of_every_layout_have_their_channels_last(
    shape: tuple[int, ...], image_shape: tuple[int, ...], order: str, outer: tuple[int, ...]
) -> None:
    layer = ScaledImage(shape)
    assert layer.image_shape == image_shape
    given = images(*outer, *shape)
    expected = np.einsum(f"...{order}->...hw{order.replace('h', '').replace('w', '')}", given)
    found = layer(given)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected.reshape(*outer, *image_shape) / 255.0, rtol=1e-6)


def test_images_are_scaled_by_their_own_bounds() -> None:
    np.testing.assert_array_equal(ScaledImage((1, 3), 2, 6)(np.array([[[2, 4, 6]]], np.uint8))[..., 0], [[[0, 0.5, 1]]])


LAYERS: dict[str, tuple[keras.Layer, Any]] = {
    "floats": (FlatFloats((2,), dtype="float64"), np.ones((1, 2))),
    "one-hot": (OneHotIntegers((2,), (0, 1), (2, 4)), np.array([[1, 2]])),
    "scaled": (ScaledIntegers((2,), (0, 2**63), (9, 2**64 - 1)), np.array([[1, 2**63 + 5]], np.uint64)),
    "log": (LogIntegers((2,)), np.array([[1, 2]])),
    "image": (ScaledImage((2, 4, 5), 1, 9), images(1, 2, 4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_rebuilt_from_its_config(name: str) -> None:
    layer, value = LAYERS[name]
    saved = keras.saving.serialize_keras_object(layer)
    rebuilt = keras.saving.deserialize_keras_object(saved)
    assert rebuilt.compute_dtype == layer.compute_dtype
    np.testing.assert_array_equal(rebuilt(value), layer(value))


def test_the_global_dtype_policy_does_not_round_observations() -> None:
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        found = FlatFloats((1,))(np.array([[70000.0]], np.float32))
    finally:
        keras.config.set_dtype_policy(before)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, [[70000.0]])
