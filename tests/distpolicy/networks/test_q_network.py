from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.categorical_q_network import CategoricalQNetwork
from distpolicy.networks.q_network import QNetwork
from distpolicy.networks.q_rnn_network import QRnnNetwork
from distpolicy.specs.array_spec import BoundedArraySpec

VECTOR = BoundedArraySpec((3,), np.float32, -10.0, 10.0)
DISCRETE = BoundedArraySpec((), np.int64, 0, 3)


def observations(*outer: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(*outer, 3)).astype(np.float32))


@pytest.mark.parametrize("outer", [(), (4,), (2, 3)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_output_for_each_action(outer: tuple[int, ...], jit_compile: bool) -> None:
    network = QNetwork(VECTOR, DISCRETE, fc_layer_params=(6,), seed=1)
    values = tf.function(lambda x: network(x)[0], jit_compile=jit_compile)(observations(*outer))
    assert values.shape == (*outer, 4)
    kernel, bias, last_kernel, last_bias = (variable.numpy() for variable in network.variables)
    expected = np.maximum(observations(*outer).numpy() @ kernel + bias, 0.0) @ last_kernel + last_bias
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    assert network.create_variables().shape == (4,)


def test_values_begin_a_little_below_zero() -> None:
    values = QNetwork(VECTOR, DISCRETE, seed=1)(observations(100))[0].numpy()
    assert -0.6 < values.min() <= values.max() < 0.2
    assert abs(values.mean() + 0.2) < 0.1


@pytest.mark.parametrize("shape", [(), (1,)])
def test_number_of_actions_counts_from_the_minimum(shape: tuple[int, ...]) -> None:
    spec = BoundedArraySpec(shape, np.int32, 5, 7)
    assert QNetwork(VECTOR, spec)(observations(2))[0].shape == (2, 3)
    assert CategoricalQNetwork(VECTOR, [spec], num_atoms=11)(observations(2))[0].shape == (2, 3, 11)


@pytest.mark.parametrize("make", [QNetwork, CategoricalQNetwork, QRnnNetwork])
@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ([DISCRETE, DISCRETE], "holds 2"),
        (BoundedArraySpec((2,), np.int64, 0, 3), r"shape \(\) or \(1,\)"),
        (BoundedArraySpec((), np.float32, 0, 3), "discrete"),
    ],
)
def test_other_actions_are_refused(make: Any, spec: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make(VECTOR, spec)


@pytest.mark.parametrize("outer", [(), (4,), (2, 3)])
def test_categorical_values_have_atoms_for_each_action(outer: tuple[int, ...]) -> None:
    network = CategoricalQNetwork(VECTOR, DISCRETE, fc_layer_params=(6,), seed=1)
    logits, _ = network(observations(*outer))
    assert network.num_atoms == 51
    assert logits.shape == (*outer, 4, 51)
    kernel, bias, last_kernel, last_bias = (variable.numpy() for variable in network.variables)
    expected = np.maximum(observations(*outer).numpy() @ kernel + bias, 0.0) @ last_kernel + last_bias
    np.testing.assert_allclose(logits, expected.reshape(*outer, 4, 51), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_values_of_a_sequence_equal_those_of_its_steps(cell: str) -> None:
    network = QRnnNetwork(VECTOR, DISCRETE, lstm_size=(5,), cell=cell, seed=1)
    observation = observations(2, 4)
    step_type = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], np.int32)
    whole, _ = network(observation, step_type)
    assert whole.shape == (2, 4, 4)
    state: Any = network.get_initial_state(2)
    for step in range(4):
        values, state = network(observation[:, step], step_type[:, step], state)
        np.testing.assert_allclose(whole[:, step], values, rtol=1e-5, atol=1e-6)


def test_copy_of_a_q_network_is_a_target_network() -> None:
    network = QNetwork(VECTOR, DISCRETE, fc_layer_params=(6,))
    target = network.copy(name="TargetQNetwork")
    for ours, theirs in zip(target.variables, network.variables, strict=True):
        ours.assign(theirs)
    np.testing.assert_array_equal(target(observations(4))[0], network(observations(4))[0])
    network.variables[0].assign(tf.zeros_like(network.variables[0]))
    assert not np.array_equal(target(observations(4))[0], network(observations(4))[0])
