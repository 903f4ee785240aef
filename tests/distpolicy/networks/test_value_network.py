from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.value_network import ValueNetwork
from distpolicy.specs.array_spec import BoundedArraySpec


@pytest.mark.parametrize("outer", [(5,), (2, 3)])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 3)])
def test_one_value_for_each_observation_over_any_outer_dimensions(
    outer: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    network = ValueNetwork(BoundedArraySpec(shape, np.float32), fc_layer_params=(8,), activation_fn="tanh")
    observation = np.random.default_rng(0).normal(size=(*outer, *shape)).astype(np.float32)
    value, state = network(tf.constant(observation))
    assert state == ()
    assert value.shape == outer
    assert value.dtype == tf.float32
    kernel, bias, last_kernel, last_bias = (variable.numpy() for variable in network.variables)
    flat = observation.reshape(*outer, -1)
    expected = (np.tanh(flat @ kernel + bias) @ last_kernel + last_bias)[..., 0]
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_network_without_hidden_layers_is_linear() -> None:
    network = ValueNetwork(BoundedArraySpec((3,), np.float32), fc_layer_params=())
    kernel, bias = network.variables
    kernel.assign([[1.0], [2.0], [3.0]])
    bias.assign([0.5])
    np.testing.assert_allclose(network(tf.constant([[1.0, 1.0, 1.0], [0.0, 0.0, -1.0]]))[0], [6.5, -2.5])
