from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.sequential import Sequential
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec

VECTOR = ArraySpec((3,), np.float32)
IMAGE = BoundedArraySpec((12, 12, 2), np.uint8, 0, 255)
NESTED = {"image": IMAGE, "speed": ArraySpec((), np.float32), "place": (ArraySpec((2,), np.float32),)}


def vectors(*outer: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(*outer, 3)).astype(np.float32))


def images(*outer: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).integers(0, 256, size=(*outer, 12, 12, 2), dtype=np.uint8))


def nested(*outer: int) -> dict[str, Any]:
    return {"image": images(*outer), "speed": vectors(*outer)[..., 0], "place": (vectors(*outer)[..., :2],)}


def preprocessing() -> dict[str, Any]:
    return {
        "image": keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(4)]),
        "speed": lambda speed: tf.stack([speed, speed**2], axis=-1),
        "place": (ValueNetwork(ArraySpec((2,), np.float32), fc_layer_params=(3,)),),
    }


def combine(parts: list[tf.Tensor]) -> tf.Tensor:
    return tf.concat([parts[0], parts[1][:, tf.newaxis], parts[2]], axis=-1)


@pytest.mark.parametrize("outer", [(), (4,), (2, 3)])
def test_dense_layers_equal_a_plain_reference_over_any_outer_dimensions(outer: tuple[int, ...]) -> None:
    network = EncodingNetwork(VECTOR, fc_layer_params=(8, 5), activation_fn="tanh", seed=1)
    encoding, state = network(vectors(*outer))
    assert state == ()
    values = vectors(*outer).numpy()
    weights = [variable.numpy() for variable in network.variables]
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        values = np.tanh(values @ kernel + bias)
    np.testing.assert_allclose(encoding, values, rtol=1e-5, atol=1e-6)
    assert network.create_variables().shape == (5,)


def test_plain_vector_costs_no_operation_but_those_of_its_layers() -> None:
    network = EncodingNetwork(VECTOR, fc_layer_params=(8, 8), activation_fn="tanh")
    network.create_variables()
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]

    def operations(function: Any) -> list[str]:
        concrete = tf.function(function).get_concrete_function(tf.TensorSpec([None, 3], tf.float32))
        return [operation.type for operation in concrete.graph.get_operations()]

    plain = operations(lambda values: layers[1](layers[0](values)))
    assert operations(lambda values: network(values)[0]) == plain


def test_convolutions_see_bytes_as_floats_without_scaling() -> None:
    network = EncodingNetwork(IMAGE, conv_layer_params=((3, 4, 2), (2, (2, 2), 1, 2)), fc_layer_params=(5,), seed=1)
    encoding, _ = network(images(4))
    first, second = (layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D))
    dense = network.layers[-1]
    values = tf.cast(images(4), tf.float32)
    values = tf.nn.relu(tf.nn.conv2d(values, first.kernel.value, 2, "VALID") + first.bias.value)
    values = tf.nn.relu(tf.nn.conv2d(values, second.kernel.value, 1, "VALID", dilations=2) + second.bias.value)
    values = tf.nn.relu(tf.reshape(values, [4, -1]) @ dense.kernel.value + dense.bias.value)
    np.testing.assert_allclose(encoding, values, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("outer", [(), (2, 3), (2, 1, 2)])
@pytest.mark.parametrize("kind", ["image", "nested", "line"])
def test_other_outer_dimensions_give_what_one_batch_gives(kind: str, outer: tuple[int, ...]) -> None:
    if kind == "image":
        network, make = EncodingNetwork(IMAGE, conv_layer_params=((3, 4, 2),), fc_layer_params=(5,)), images
    elif kind == "nested":
        network = EncodingNetwork(NESTED, preprocessing(), combine, fc_layer_params=(5,))
        make = nested
    else:
        line = ArraySpec((9, 3), np.float32)
        network = EncodingNetwork(line, conv_layer_params=((4, 3, 2),), conv_type="1d")

        def make(*outer: int) -> tf.Tensor:
            return vectors(*outer, 9)

    num = int(np.prod(outer))
    flat = tf.nest.map_structure(
        lambda leaf: tf.reshape(leaf, [num, *leaf.shape[len(outer) :]]), make(*outer) if outer else make()
    )
    expected, _ = network(flat)
    found, _ = network(make(*outer))
    assert found.shape == (*outer, expected.shape[-1])
    np.testing.assert_allclose(tf.reshape(found, expected.shape), expected, rtol=1e-4, atol=1e-4)
    for jit_compile in (False, True):
        compiled = tf.function(lambda observation: network(observation)[0], jit_compile=jit_compile)
        np.testing.assert_allclose(compiled(make(*outer)), found, rtol=1e-3, atol=1e-3)


def test_parts_are_preprocessed_each_by_its_own_and_then_combined() -> None:
    layers = preprocessing()
    network = EncodingNetwork(NESTED, layers, combine)
    encoding, _ = network(nested(4))
    assert encoding.shape == (4, 4 + 1 + 2)
    np.testing.assert_allclose(encoding[:, -2], nested(4)["speed"], rtol=1e-6)
    np.testing.assert_allclose(encoding[:, -1], nested(4)["speed"] ** 2, rtol=1e-6)
    # What was given is copied, so that actor and critic can be made of one.
    assert not layers["image"].built or not layers["image"].weights
    other = EncodingNetwork(NESTED, layers, combine)
    other.create_variables()
    assert len(other.variables) == len(network.variables) == 6
    assert not {id(item) for item in other.variables} & {id(item) for item in network.variables}
    copied = network.copy()
    assert [item.path for item in copied.named_variables()] == [item.path for item in network.named_variables()]
    assert not {id(item) for item in copied.variables} & {id(item) for item in network.variables}


def test_layer_of_keras_combines_an_observation_without_preprocessing() -> None:
    spec = {"a": VECTOR, "b": VECTOR}
    network = EncodingNetwork(spec, preprocessing_combiner=keras.layers.Concatenate())
    encoding, _ = network({"a": vectors(4), "b": vectors(4) * 2.0})
    np.testing.assert_array_equal(encoding, np.concatenate([vectors(4), vectors(4) * 2.0], axis=1))


def test_lambda_layers_and_networks_are_copied() -> None:
    inner = Sequential([keras.layers.Dense(3)], input_spec=VECTOR)
    for layer in (keras.layers.Lambda(lambda values: values / 2.0), inner):
        network = EncodingNetwork(VECTOR, layer)
        encoding, _ = network(vectors(4))
        assert encoding.shape == (4, 3)
    assert not inner.built


def test_dropout_acts_in_training_only_unless_it_is_permanent() -> None:
    network = EncodingNetwork(VECTOR, fc_layer_params=(64, 64), dropout_layer_params=(0.5, None), seed=1)
    plain, _ = network(vectors(4))
    np.testing.assert_array_equal(network(vectors(4))[0], plain)
    assert not np.allclose(network(vectors(4), training=True)[0], plain)
    permanent = EncodingNetwork(
        VECTOR, fc_layer_params=(64,), dropout_layer_params=({"rate": 0.5, "permanent": True},), seed=1
    )
    share = np.mean(permanent(tf.ones([50, 3]))[0].numpy() == 0.0)
    usual = EncodingNetwork(VECTOR, fc_layer_params=(64,), seed=1)
    assert share > np.mean(usual(tf.ones([50, 3]))[0].numpy() == 0.0) + 0.15


def test_weight_decay_shows_in_the_losses() -> None:
    network = EncodingNetwork(VECTOR, fc_layer_params=(4, 4), weight_decay_params=(0.1, None))
    network.create_variables()
    kernel = network.variables[0].numpy()
    np.testing.assert_allclose([float(loss) for loss in network.losses], [0.1 * np.sum(kernel**2)], rtol=1e-5)


def test_layers_of_one_size_draw_other_weights_from_one_initializer() -> None:
    for initializer in (None, "he_normal", keras.initializers.Orthogonal(1.0, seed=3)):
        network = EncodingNetwork(VECTOR, fc_layer_params=(8, 8, 8), kernel_initializer=initializer, seed=5)
        kernels = [variable.numpy() for variable in network.variables if variable.shape == (8, 8)]
        assert not np.array_equal(*kernels)
    # An own seed goes up from layer to layer.
    expected = keras.initializers.Orthogonal(1.0, seed=5)((8, 8))
    np.testing.assert_array_equal(kernels[1], expected)


def test_parameters_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="preprocessing_combiner"):
        EncodingNetwork({"a": VECTOR, "b": VECTOR})
    with pytest.raises(ValueError, match="preprocessing_layers"):
        EncodingNetwork({"a": VECTOR, "b": VECTOR}, {"a": keras.layers.Dense(2)}, keras.layers.Concatenate())
    with pytest.raises(ValueError, match="one entry for each of 2 dense layers, not 1"):
        EncodingNetwork(VECTOR, fc_layer_params=(4, 4), dropout_layer_params=(0.5,))
    with pytest.raises(ValueError, match="conv_type"):
        EncodingNetwork(IMAGE, conv_layer_params=((3, 4, 2),), conv_type="3d")
    with pytest.raises(ValueError, match=r"conv_layer_params\[0\]"):
        EncodingNetwork(IMAGE, conv_layer_params=((3, 4),))
    with pytest.raises(ValueError, match="rate"):
        EncodingNetwork(VECTOR, fc_layer_params=(4,), dropout_layer_params=(1.5,))
    recurrent = LSTMEncodingNetwork(VECTOR, lstm_size=(2,))
    with pytest.raises(ValueError, match="has a state"):
        EncodingNetwork(VECTOR, recurrent)(vectors(1))


def test_without_squashing_layers_see_all_outer_dimensions() -> None:
    seen: list[int] = []

    def look(values: tf.Tensor) -> tf.Tensor:
        seen.append(values.shape.rank)
        return values

    for batch_squash, rank in ((True, 2), (False, 3)):
        network = EncodingNetwork(VECTOR, look, fc_layer_params=(4,), batch_squash=batch_squash)
        assert network(vectors(2, 3))[0].shape == (2, 3, 4)
        assert seen[-1] == rank


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.float64])
def test_numbers_of_any_kind_become_float32(dtype: Any) -> None:
    network = EncodingNetwork(ArraySpec((3,), dtype), fc_layer_params=(4,))
    encoding, _ = network(np.array([[1, 0, 1]], dtype))
    assert encoding.dtype == tf.float32
    kernel, bias = (variable.numpy() for variable in network.variables)
    np.testing.assert_allclose(encoding[0], np.maximum(kernel[0] + kernel[2] + bias, 0.0), rtol=1e-5)


SCALE = 3.0


def layers_with_functions() -> dict[str, keras.Layer]:
    """Layers and models with a Lambda inside, whose function reads a global name."""
    inputs = keras.Input((3,))
    scaled = keras.layers.Lambda(lambda values: values * SCALE)

    def sequence(*before: Any) -> keras.Sequential:
        function = keras.layers.Lambda(lambda values: values * SCALE)
        return keras.Sequential([*before, function, keras.layers.Dense(2)])

    return {
        "sequential": sequence(),
        "sequential with input": sequence(keras.Input((3,))),
        "model": keras.Model(inputs, keras.layers.Dense(2)(scaled(inputs))),
        "nested": keras.Model(inputs, sequence(keras.Input((3,)))(inputs)),
        "time distributed": keras.Sequential(
            [keras.layers.Reshape((1, 3)), keras.layers.TimeDistributed(sequence()), keras.layers.Flatten()]
        ),
    }


@pytest.mark.parametrize("kind", list(layers_with_functions()))
@pytest.mark.parametrize("is_built", [False, True])
def test_layers_with_functions_inside_are_copied(kind: str, is_built: bool) -> None:
    layer = layers_with_functions()[kind]
    if is_built:
        layer(vectors(2))
    network = EncodingNetwork(VECTOR, layer)
    found, _ = network(vectors(4))
    assert found.shape == (4, 2)
    assert not {id(item) for item in network.variables} & {id(item.value) for item in layer.weights}
    if layer.built:
        np.testing.assert_allclose(found, layer(vectors(4)), rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Dense(3, activation="tanh"),
        keras.layers.Dense(3, trainable=False),
        keras.layers.BatchNormalization(),
        Sequential([keras.layers.Dense(4), keras.layers.Dense(3)], input_spec=VECTOR),
    ],
    ids=["dense", "frozen", "statistics", "network"],
)
def test_weights_of_a_layer_that_is_built_are_kept(layer: Any) -> None:
    layer(vectors(2))
    weights = layer.weights if isinstance(layer, keras.Layer) else layer.variables
    for weight in weights:
        weight.assign(weight * 2.0 + 1.0)
    expected = layer(vectors(4)) if isinstance(layer, keras.Layer) else layer(vectors(4))[0]
    network = EncodingNetwork(VECTOR, layer)
    np.testing.assert_allclose(network(vectors(4))[0], expected, rtol=1e-5)
    np.testing.assert_allclose(network.copy()(vectors(4))[0], expected, rtol=1e-5)
    assert [item.trainable for item in network.variables] == [item.trainable for item in weights]
    for variable in network.variables:
        variable.assign(tf.zeros_like(variable))
    found = layer(vectors(4)) if isinstance(layer, keras.Layer) else layer(vectors(4))[0]
    np.testing.assert_array_equal(found, expected)


def test_layer_at_several_leaves_stays_one() -> None:
    shared, spec = keras.layers.Dense(3), {"left": VECTOR, "right": VECTOR, "other": VECTOR}
    layers = {"left": shared, "right": shared, "other": keras.layers.Dense(3)}
    network = EncodingNetwork(spec, layers, keras.layers.Concatenate())
    encoding, _ = network({name: vectors(4) for name in spec})
    # In the order of the keys: left, other, right.
    np.testing.assert_array_equal(encoding[:, :3], encoding[:, 6:])
    assert len(network.variables) == 4
