from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.keras_layers.noisy_dense import NoisyDense
from distpolicy.networks.noisy_q_network import NoisyQNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec

OBSERVATION = ArraySpec((3,), np.float32)
ACTION = BoundedArraySpec((), np.int64, 0, 3)


def test_a_layer_has_factorised_noise() -> None:
    layer, draws = NoisyDense(2, "tanh", seed=1), np.random.default_rng(0)
    inputs, noise = draws.normal(size=(5, 3)).astype(np.float32), draws.normal(size=(5, 5)).astype(np.float32)
    found = layer(inputs, noise=tf.constant(noise))
    kernel, bias, kernel_scale, bias_scale = (
        getattr(layer, name).numpy() for name in ("kernel", "bias", "kernel_scale", "bias_scale")
    )
    np.testing.assert_allclose(kernel_scale, 0.5 / np.sqrt(3), rtol=1e-6)
    for row in range(5):
        into, out = np.split(np.sign(noise[row]) * np.sqrt(np.abs(noise[row])), [3])
        noisy = kernel + kernel_scale * np.outer(into, out)
        np.testing.assert_allclose(found[row], np.tanh(inputs[row] @ noisy + bias + bias_scale * out), rtol=1e-5)
    np.testing.assert_allclose(layer(inputs), np.tanh(inputs @ kernel + bias), rtol=1e-5)


@pytest.mark.parametrize("dueling", [False, True])
def test_rows_have_their_own_noise_and_share_broadcast_noise(dueling: bool) -> None:
    network = NoisyQNetwork(OBSERVATION, ACTION, noisy_layer_params=(6,), dueling=dueling, seed=2)
    assert network.num_noise == (3 + 6) + (6 + 4) + dueling * ((3 + 6) + (6 + 1))
    inputs = tf.random.stateless_normal([4, 3], [1, 2])
    noise = tf.random.stateless_normal([4, network.num_noise], [3, 4])
    whole, _ = network(inputs, noise=noise)
    assert whole.shape == (4, 4)
    for row in range(4):
        np.testing.assert_allclose(
            network(inputs[row : row + 1], noise=noise[row : row + 1])[0][0], whole[row], rtol=1e-5
        )
    np.testing.assert_allclose(network(inputs, noise=noise[:1])[0][0], whole[0], rtol=1e-5)
    assert np.abs(network(inputs)[0] - whole).max() > 1e-3
    sequence, _ = network(tf.reshape(inputs, [2, 2, 3]), noise=tf.reshape(noise, [2, 2, -1]))
    np.testing.assert_allclose(tf.reshape(sequence, [4, 4]), whole, rtol=1e-5)


def test_copies_have_weights_of_their_own() -> None:
    network = NoisyQNetwork(OBSERVATION, ACTION, fc_layer_params=(5,), seed=2)
    other = network.copy()
    assert [item.path for item in network.named_variables()] == [item.path for item in other.named_variables()]
    assert not {id(one) for one in network.variables} & {id(two) for two in other.variables}
