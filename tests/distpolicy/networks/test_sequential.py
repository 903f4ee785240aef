from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.keras_layers.dynamic_unroll_layer import DynamicUnroll
from distpolicy.keras_layers.inner_reshape import InnerReshape
from distpolicy.networks.nest_map import NestFlatten, NestMap
from distpolicy.networks.normal_projection_network import NormalProjectionNetwork
from distpolicy.networks.sequential import Sequential
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts

VECTOR = ArraySpec((3,), np.float32)
BOX = BoundedArraySpec((2,), np.float32, -1.0, 1.0)


def vectors(*outer: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(*outer, 3)).astype(np.float32))


def test_layers_networks_and_functions_follow_each_other() -> None:
    first, value = keras.layers.Dense(3), ValueNetwork(VECTOR, fc_layer_params=(4,))
    network = Sequential([first, tf.tanh, value], input_spec=VECTOR)
    assert network.create_variables().shape == ()
    assert network.state_spec == ()
    outputs, state = network(vectors(4))
    assert state == ()
    np.testing.assert_allclose(outputs, value(tf.tanh(first(vectors(4))))[0], rtol=1e-6)
    assert network.layers == [first, tf.tanh, value]
    assert len(network.variables) == 6


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (lambda: keras.layers.LSTM(4, return_sequences=True, return_state=True), ((4, 4),)),
        (lambda: keras.layers.GRUCell(4), (4,)),
        (lambda: DynamicUnroll(keras.layers.LSTMCell(4)), ((4, 4),)),
        (lambda: DynamicUnroll([keras.layers.GRUCell(4), keras.layers.GRUCell(2)]), ((4, 2),)),
    ],
)
def test_states_of_recurrent_layers_are_threaded_and_reset(layer: Any, sizes: Any) -> None:
    network = Sequential([keras.layers.Dense(3), layer(), keras.layers.Dense(2)], input_spec=VECTOR)
    assert tf.nest.map_structure(lambda spec: spec.shape[0], network.state_spec) == sizes
    step_type = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], np.int32)
    whole, after = network(vectors(2, 4), step_type=step_type)
    assert whole.shape == (2, 4, 2)
    state: Any = network.get_initial_state(2)
    for step in range(4):
        # Reset by hand, so that the network's own reset is what is tested.
        keep = step_type[:, step, np.newaxis].astype(np.float32)
        state = tf.nest.map_structure(lambda item, keep=keep: item * keep, state)
        outputs, state = network(vectors(2, 4)[:, step], network_state=state)
        np.testing.assert_allclose(whole[:, step], outputs, rtol=1e-5, atol=1e-6)
    tf.nest.assert_same_structure(after, network.state_spec)
    for left, right in zip(tf.nest.flatten(after), tf.nest.flatten(state), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_two_recurrent_layers_keep_their_states_apart() -> None:
    network = Sequential([keras.layers.GRUCell(4), keras.layers.Dense(3), keras.layers.GRUCell(2)], input_spec=VECTOR)
    assert tf.nest.map_structure(lambda spec: spec.shape[0], network.state_spec) == (4, 2)
    _, state = network(vectors(5))
    assert tf.nest.map_structure(lambda item: item.shape, state) == (
        tf.TensorShape([5, 4]),
        tf.TensorShape([5, 2]),
    )


def test_copy_has_weights_of_its_own() -> None:
    network = Sequential([keras.layers.Dense(3), keras.layers.LSTM(4, return_sequences=True)], input_spec=VECTOR)
    network.create_variables()
    copied = network.copy(name="Copy")
    assert copied.name == "Copy"
    assert [item.path for item in copied.named_variables()] == [item.path for item in network.named_variables()]
    assert not {id(item) for item in copied.variables} & {id(item) for item in network.variables}
    shared = network.copy(layers=network.layers)
    assert {id(item) for item in shared.variables} == {id(item) for item in network.variables}


def test_training_reaches_the_layers() -> None:
    network = Sequential([keras.layers.Dropout(0.5, seed=1), keras.layers.BatchNormalization()], input_spec=VECTOR)
    plain, _ = network(vectors(8))
    np.testing.assert_array_equal(network(vectors(8))[0], plain)
    assert not np.allclose(network(vectors(8), training=True)[0], plain)
    assert len(network.trainable_variables) == 2
    assert len(network.variables) == 4


def test_layers_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Sequential([])
    with pytest.raises(TypeError, match="int"):
        Sequential([1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="return_sequences"):
        Sequential([keras.layers.LSTM(4)])


def test_specs_may_come_later() -> None:
    network = Sequential([keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="input_tensor_spec"):
        _ = network.variables
    assert network.create_variables(VECTOR).shape == (2,)
    assert network.variables[0].shape == (3, 2)
    called = Sequential([keras.layers.Dense(2)])
    called(vectors(4))
    assert called.variables[0].shape == (3, 2)


def test_nest_of_layers_maps_a_nest_of_values() -> None:
    network = Sequential(
        [
            NestMap({"a": keras.layers.Dense(3), "b": keras.layers.GRUCell(4), "c": tf.abs}),
            NestFlatten(),
            keras.layers.Concatenate(),
        ],
        input_spec={"a": VECTOR, "b": VECTOR, "c": VECTOR},
    )
    assert network.create_variables().shape == (10,)
    inputs = {"a": vectors(2), "b": vectors(2), "c": vectors(2)}
    outputs, state = network(inputs)
    np.testing.assert_allclose(outputs[:, 7:], np.abs(vectors(2)))
    assert set(state[0]) == {"a", "b", "c"}
    assert state[0]["a"] == ()
    np.testing.assert_allclose(state[0]["b"], outputs[:, 3:7])
    later, _ = network(inputs, network_state=state)
    assert not np.allclose(later[:, 3:7], outputs[:, 3:7])
    again, _ = network(inputs, network_state=state, step_type=tf.zeros([2], tf.int32))
    np.testing.assert_allclose(again, outputs, rtol=1e-6)
    copied = network.copy()
    assert not {id(item) for item in copied.variables} & {id(item) for item in network.variables}
    with pytest.raises(ValueError, match="input_spec"):
        NestMap({"a": tf.abs}, input_spec={"b": VECTOR})


@pytest.mark.parametrize("outer", [(4,), (2, 3)])
def test_distributions_may_come_last_and_make_a_policy(outer: tuple[int, ...]) -> None:
    by_function = [
        lambda values: {"loc": values, "scale": values},
        NestMap({"loc": keras.layers.Dense(2), "scale": keras.layers.Dense(2, activation="softplus")}),
        lambda parts: tfp.distributions.MultivariateNormalDiag(parts["loc"], parts["scale"]),
    ]
    for layers in (by_function, [NormalProjectionNetwork(BOX)]):
        network = Sequential([keras.layers.Dense(4), *layers], input_spec=VECTOR)
        assert network.create_variables().shape == (2,)
        distribution, _ = network(vectors(*outer))
        assert distribution.batch_shape == outer
        assert distribution.event_shape == (2,)
    policy = ActorPolicy(ts.time_step_spec(VECTOR), BOX, network)
    assert policy.action(ts.restart(vectors(4), 4)).action.shape == (4, 2)


def test_inner_dimensions_are_reshaped() -> None:
    network = Sequential([InnerReshape([3], [3, 1]), InnerReshape([None, 1], [None])], input_spec=VECTOR)
    for outer in ((4,), (2, 5)):
        np.testing.assert_array_equal(network(vectors(*outer))[0], vectors(*outer))
    with pytest.raises(ValueError, match="sizes differ"):
        InnerReshape([3], [2])
    with pytest.raises(ValueError, match="expected inputs"):
        InnerReshape([2], [2, 1])(vectors(4))
