from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.keras_layers.rnn_wrapper import RNNWrapper
from distpolicy.keras_layers.squashed_outer_wrapper import SquashedOuterWrapper

BOTH = {"return_state": True, "return_sequences": True}


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.LSTM(3, **BOTH),
        lambda: keras.layers.GRU(3, **BOTH),
        lambda: keras.layers.RNN(keras.layers.StackedRNNCells([keras.layers.LSTMCell(3) for _ in range(2)]), **BOTH),
    ],
)
def test_steps_one_by_one_are_the_sequence(make: Any) -> None:
    layer = RNNWrapper(make())
    inputs = tf.random.stateless_normal([2, 4, 5], [1, 2])
    outputs, final = layer(inputs)
    assert outputs.shape == (2, 4, 3)
    tf.nest.assert_same_structure(final, layer.state_size)
    state = layer.get_initial_state(inputs)
    tf.nest.assert_same_structure(state, layer.state_size)
    for step in range(4):
        output, state = layer(inputs[:, step], initial_state=state)
        np.testing.assert_allclose(output, outputs[:, step], atol=1e-6)
    for one, other in zip(tf.nest.flatten(state), tf.nest.flatten(final), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert len(layer.trainable_weights) == len(layer.wrapped_layer.trainable_weights)
    assert layer.cell is layer.wrapped_layer.cell
    copied = RNNWrapper.from_config(layer.get_config())
    assert copied(inputs)[0].shape == outputs.shape


def test_layers_that_do_not_return_all_are_refused() -> None:
    with pytest.raises(TypeError, match="recurrent"):
        RNNWrapper(keras.layers.Dense(2))
    with pytest.raises(NotImplementedError, match="return_state"):
        RNNWrapper(keras.layers.GRU(2, return_sequences=True))
    with pytest.raises(NotImplementedError, match="return_sequences"):
        RNNWrapper(keras.layers.GRU(2, return_state=True))


def test_outer_dimensions_become_one_batch_and_come_back() -> None:
    layer = SquashedOuterWrapper(keras.layers.BatchNormalization(momentum=0.0), inner_rank=1)
    inputs = np.random.default_rng(0).normal(3.0, 2.0, (2, 4, 5)).astype(np.float32)
    outputs = layer(inputs, training=True)
    flat = inputs.reshape(8, 5)
    expected = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-3)
    np.testing.assert_allclose(outputs, expected.reshape(2, 4, 5), atol=1e-4)
    np.testing.assert_allclose(layer.wrapped.moving_mean, flat.mean(0), atol=1e-4)
    assert layer.compute_output_shape((2, 4, 5)) == (2, 4, 5)
    assert len(layer.trainable_weights) == 2
    assert len(layer.non_trainable_weights) == 2
    layer.trainable = False
    assert layer.trainable_weights == []


def test_one_layer_takes_any_number_of_outer_dimensions_compiled() -> None:
    layer = SquashedOuterWrapper(keras.layers.Dense(2), inner_rank=1)
    inputs = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 4])])
    def compiled(batch: tf.Tensor) -> tf.Tensor:
        return layer(batch)

    expected = layer(inputs)
    np.testing.assert_allclose(compiled(inputs), expected, atol=1e-5)
    np.testing.assert_allclose(layer(inputs[0]), expected[0], atol=1e-5)
    with pytest.raises(ValueError, match="batch dimension"):
        layer(inputs[0, 0])
    with pytest.raises(ValueError, match="recurrent"):
        SquashedOuterWrapper(keras.layers.GRU(2), inner_rank=1)
    copied = SquashedOuterWrapper.from_config(layer.get_config())
    assert copied(inputs).shape == (2, 3, 2)
    assert copied.inner_rank == 1
