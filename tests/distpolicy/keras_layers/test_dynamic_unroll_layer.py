from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.keras_layers.dynamic_unroll_layer import DynamicUnroll

CELLS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: keras.layers.LSTMCell(4),
    "gru": lambda: keras.layers.GRUCell(4),
    "simple": lambda: keras.layers.SimpleRNNCell(3),
    "stacked lstm": lambda: [keras.layers.LSTMCell(4), keras.layers.LSTMCell(5)],
    "stacked gru": lambda: [keras.layers.GRUCell(4), keras.layers.GRUCell(2)],
    "mixed": lambda: [keras.layers.GRUCell(4), keras.layers.LSTMCell(2)],
}
NUM_INPUTS = 3


class CountingCell(keras.layers.Layer):
    """Its state is the sum of its inputs, without weights; so are its outputs."""

    state_size = 1
    output_size = 1

    def call(self, inputs: Any, states: Any) -> Any:
        total = states[0] + inputs
        return total, [total]


@pytest.fixture(scope="module")
def layers() -> dict[str, DynamicUnroll]:
    built = {}
    for name, make in CELLS.items():
        built[name] = DynamicUnroll(make())
        built[name].build((None, NUM_INPUTS))
        generator = np.random.default_rng(1)
        for weight in built[name].weights:
            weight.assign(generator.normal(scale=0.7, size=weight.shape).astype(np.float32))
    return built


def random_inputs(seed: int, *outer: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*outer, NUM_INPUTS)).astype(np.float32)


def random_state(layer: DynamicUnroll, seed: int, batch_size: int) -> Any:
    generator = np.random.default_rng(seed)
    return tf.nest.map_structure(
        lambda size: tf.constant(generator.normal(size=(batch_size, size)).astype(np.float32)), layer.state_size
    )


def single_steps(layer: DynamicUnroll, inputs: np.ndarray, state: Any, resets: np.ndarray) -> tuple[np.ndarray, Any]:
    """By hand: the rows that reset get zeros before the cell sees them."""
    outputs = []
    for step in range(inputs.shape[1]):
        keep = (~resets[:, step]).astype(np.float32)[:, np.newaxis]
        state = tf.nest.map_structure(lambda item, keep=keep: item * keep, state)
        output, state = layer.cell(tf.constant(inputs[:, step]), state)
        state = tf.nest.pack_sequence_as(layer.state_size, tf.nest.flatten(state))
        outputs.append(output.numpy())
    return np.stack(outputs, axis=1), state


@settings(max_examples=40)
@given(
    name=st.sampled_from(sorted(CELLS)),
    batch_size=st.integers(1, 4),
    num_steps=st.integers(1, 7),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_sequence_equals_its_single_steps_under_any_resets(
    layers: dict[str, DynamicUnroll], name: str, batch_size: int, num_steps: int, seed: int, data: st.DataObject
) -> None:
    layer = layers[name]
    row = st.lists(st.booleans(), min_size=num_steps, max_size=num_steps)
    resets = np.array(data.draw(st.lists(row, min_size=batch_size, max_size=batch_size)))
    inputs, state = random_inputs(seed, batch_size, num_steps), random_state(layer, seed, batch_size)
    expected, expected_state = single_steps(layer, inputs, state, resets)
    outputs, after = layer(tf.constant(inputs), initial_state=state, reset_mask=tf.constant(resets))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    tf.nest.assert_same_structure(after, layer.state_size)
    for found, wanted in zip(tf.nest.flatten(after), tf.nest.flatten(expected_state), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    # The same by the layer's own form for one step.
    carried = state
    for step in range(num_steps):
        output, carried = layer(tf.constant(inputs[:, step]), initial_state=carried, reset_mask=resets[:, step])
        np.testing.assert_allclose(output, expected[:, step], rtol=1e-5, atol=1e-5)


def test_reset_comes_before_the_step_that_it_marks_and_at_no_other() -> None:
    layer = DynamicUnroll(CountingCell())
    resets = np.array([[False, False, True, False, False], [True, False, False, False, True]])
    outputs, (state,) = layer(tf.ones([2, 5, 1]), initial_state=[tf.constant([[10.0], [10.0]])], reset_mask=resets)
    np.testing.assert_array_equal(outputs[..., 0], [[11, 12, 1, 2, 3], [1, 2, 3, 4, 1]])
    np.testing.assert_array_equal(state[:, 0], [3, 1])


def test_gradients_flow_through_time_but_not_across_a_reset(layers: dict[str, DynamicUnroll]) -> None:
    layer = layers["lstm"]
    inputs, state = tf.constant(random_inputs(0, 2, 5)), random_state(layer, 0, 2)
    resets = tf.constant([[False, False, True, False, False], [False] * 5])
    with tf.GradientTape() as tape:
        tape.watch([inputs, state])
        outputs, _ = layer(inputs, initial_state=state, reset_mask=resets)
        loss = tf.reduce_sum(outputs[:, -1])
    by_input, by_state = tape.gradient(loss, [inputs, state])
    moved = np.abs(by_input).sum(axis=2) > 0
    np.testing.assert_array_equal(moved, [[False, False, True, True, True], [True] * 5])
    np.testing.assert_array_equal(np.abs(by_state[0]).sum(axis=1) > 0, [False, True])


@pytest.mark.parametrize("name", ["lstm", "gru", "stacked lstm"])
def test_compiled_unroll_and_its_gradient_equal_the_eager_ones(layers: dict[str, DynamicUnroll], name: str) -> None:
    layer = layers[name]
    inputs, state = tf.constant(random_inputs(0, 3, 6)), random_state(layer, 0, 3)
    resets = tf.constant(np.random.default_rng(2).random((3, 6)) < 0.3)

    def run(inputs: tf.Tensor, state: Any, resets: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            outputs, after = layer(inputs, initial_state=state, reset_mask=resets)
            loss = tf.reduce_sum(tf.square(outputs))
        return outputs, after, tape.gradient(loss, [weight.value for weight in layer.weights])

    expected = run(inputs, state, resets)
    for jit_compile in (False, True):
        found = tf.function(run, jit_compile=jit_compile)(inputs, state, resets)
        for left, right in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)


def test_graph_does_not_grow_with_the_number_of_steps(layers: dict[str, DynamicUnroll]) -> None:
    def num_operations(num_steps: int) -> int:
        function = tf.function(lambda inputs: layers["lstm"](inputs)[0])
        concrete = function.get_concrete_function(tf.TensorSpec([2, num_steps, NUM_INPUTS], tf.float32))
        definition = concrete.graph.as_graph_def()
        return len(definition.node) + sum(len(item.node_def) for item in definition.library.function)

    assert num_operations(40) == num_operations(10)


def test_open_batch_size_is_taken(layers: dict[str, DynamicUnroll]) -> None:
    layer = layers["stacked lstm"]
    function = tf.function(lambda inputs: layer(inputs), input_signature=[tf.TensorSpec([None, 4, NUM_INPUTS])])
    for batch_size in (1, 3):
        inputs = tf.constant(random_inputs(0, batch_size, 4))
        np.testing.assert_allclose(function(inputs)[0], layer(inputs)[0], rtol=1e-5, atol=1e-6)


def test_state_is_lists_and_tuples_of_lists_and_either_is_taken(layers: dict[str, DynamicUnroll]) -> None:
    assert layers["lstm"].state_size == [4, 4]
    assert layers["gru"].state_size == [4]
    assert layers["stacked lstm"].state_size == ([4, 4], [5, 5])
    inputs, state = tf.constant(random_inputs(0, 2, 3)), random_state(layers["lstm"], 0, 2)
    as_list, _ = layers["lstm"](inputs, initial_state=state)
    as_tuple, after = layers["lstm"](inputs, initial_state=tuple(state))
    np.testing.assert_array_equal(as_list, as_tuple)
    assert isinstance(after, list)
    assert layers["lstm"].get_initial_state(batch_size=7)[1].shape == (7, 4)


def test_missing_state_is_zeros(layers: dict[str, DynamicUnroll]) -> None:
    layer, inputs = layers["mixed"], tf.constant(random_inputs(0, 2, 3))
    zeros = layer.get_initial_state(inputs)
    assert not any(np.any(item) for item in tf.nest.flatten(zeros))
    for missing in (None, ()):
        np.testing.assert_array_equal(layer(inputs, initial_state=missing)[0], layer(inputs, initial_state=zeros)[0])


def test_shapes_that_do_not_fit_are_refused(layers: dict[str, DynamicUnroll]) -> None:
    layer, inputs = layers["lstm"], tf.constant(random_inputs(0, 2, 3))
    with pytest.raises(ValueError, match="reset_mask"):
        layer(inputs, reset_mask=tf.zeros([2], tf.bool))
    with pytest.raises(ValueError, match=r"sizes \[4, 4\]"):
        layer(inputs, initial_state=[tf.zeros([2, 4]), tf.zeros([2, 5])])
    with pytest.raises(ValueError, match=r"\[B, T, n\]"):
        layer(tf.zeros([1, 2, 3, NUM_INPUTS]))
    with pytest.raises(ValueError, match="LSTMCell"):
        DynamicUnroll(keras.layers.Dense(3))


def test_dropout_of_a_cell_acts_in_training_only_and_for_the_whole_sequence() -> None:
    layer = DynamicUnroll(keras.layers.GRUCell(64, dropout=0.5, recurrent_dropout=0.5, seed=1))
    inputs = tf.constant(random_inputs(0, 2, 5))
    plain = layer(inputs)[0]
    np.testing.assert_array_equal(layer(inputs)[0], plain)
    run = tf.function(lambda: layer(inputs, training=True)[0])
    first, second = run().numpy(), run().numpy()
    assert not np.allclose(first, plain)
    # Drawn anew at each call.
    assert not np.allclose(first, second)


def test_copy_by_configuration_has_weights_of_its_own(layers: dict[str, DynamicUnroll]) -> None:
    layer = layers["stacked lstm"]
    copied = DynamicUnroll.from_config(layer.get_config())
    copied.build((None, NUM_INPUTS))
    assert copied.state_size == layer.state_size
    assert [weight.shape for weight in copied.weights] == [weight.shape for weight in layer.weights]
    assert not {id(weight) for weight in copied.weights} & {id(weight) for weight in layer.weights}
