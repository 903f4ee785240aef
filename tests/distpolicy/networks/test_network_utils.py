from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.utils import BatchSquash, check_single_floating_network_output, clone_initializer, mlp_layers


@pytest.mark.parametrize("batch_dims", [0, 1, 2, 3])
def test_squash_and_its_reverse_are_identity(batch_dims: int) -> None:
    tensor = tf.reshape(tf.range(2 * 3 * 4 * 5), [2, 3, 4, 5])
    squash = BatchSquash(batch_dims)
    flat = squash.flatten(tensor)
    assert flat.shape == (int(np.prod(tensor.shape[:batch_dims])), *tensor.shape[batch_dims:])
    np.testing.assert_array_equal(squash.unflatten(flat), tensor)


def test_squash_takes_open_dimensions() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3])])
    def doubled(tensor: tf.Tensor) -> tf.Tensor:
        squash = BatchSquash(2)
        return squash.unflatten(squash.flatten(tensor) * 2.0)

    np.testing.assert_array_equal(doubled(tf.ones([2, 5, 3])), np.full((2, 5, 3), 2.0))
    np.testing.assert_array_equal(doubled(tf.ones([4, 1, 3])), np.full((4, 1, 3), 2.0))


def test_squash_cannot_be_undone_before_it_was_done() -> None:
    with pytest.raises(ValueError, match="before flatten"):
        BatchSquash(2).unflatten(tf.ones([4]))
    with pytest.raises(ValueError, match="0 or more"):
        BatchSquash(-1)


def test_clones_of_an_initializer_differ_and_are_repeatable() -> None:
    initializer = keras.initializers.GlorotUniform(seed=3)
    first, second = (clone_initializer(initializer, index)((4, 4)) for index in (0, 1))
    np.testing.assert_array_equal(first, initializer((4, 4)))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(clone_initializer("glorot_uniform", 1, seed=3)((4, 4)), second)
    # Without any seed, each draws its own.
    unseeded = keras.initializers.GlorotUniform()
    assert not np.array_equal(clone_initializer(unseeded)((4, 4)), clone_initializer(unseeded)((4, 4)))

    def ones(shape: tuple[int, ...], dtype: str) -> tf.Tensor:
        return tf.ones(shape, dtype)

    assert clone_initializer(ones) is ones
    assert clone_initializer("zeros", 1, 2)((2,)).shape == (2,)


def test_layers_of_a_perceptron_come_in_order() -> None:
    layers = mlp_layers(((4, 3, 1),), (8, 6), (0.5, None))
    kinds = ["Conv2D", "Flatten", "Dense", "PermanentVariableRateDropout", "Dense"]
    assert [type(layer).__name__ for layer in layers] == kinds


def test_outputs_that_are_not_one_float_tensor_are_refused() -> None:
    check_single_floating_network_output(tf.TensorSpec((), tf.float32), (), "critic")
    for spec in (tf.TensorSpec((), tf.int32), tf.TensorSpec((2,), tf.float32), [tf.TensorSpec((), tf.float32)]):
        with pytest.raises(ValueError, match="critic must return one float tensor"):
            check_single_floating_network_output(spec, (), "critic")
