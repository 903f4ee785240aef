from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.keras_layers.bias_layer import BiasLayer


@pytest.mark.parametrize("outer", [(1,), (4,), (2, 3)])
def test_vector_is_added_to_the_last_dimension(outer: tuple[int, ...]) -> None:
    layer = BiasLayer(bias_initializer="ones")
    inputs = tf.random.stateless_normal([*outer, 3], seed=[1, 2])
    np.testing.assert_array_equal(layer(inputs), inputs + 1.0)
    layer.bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(layer(inputs), inputs + np.array([1.0, 2.0, 3.0], np.float32))
    assert [weight.shape for weight in layer.trainable_weights] == [(3,)]


def test_copy_by_configuration_begins_alike() -> None:
    layer = BiasLayer(bias_initializer=tf.keras.initializers.Constant(0.5))
    copied = BiasLayer.from_config(layer.get_config())
    np.testing.assert_array_equal(copied(tf.zeros([1, 2])), [[0.5, 0.5]])
