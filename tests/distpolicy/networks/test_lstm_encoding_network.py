from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.keras_layers.dynamic_unroll_layer import DynamicUnroll
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.value_rnn_network import ValueRnnNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.specs.tensor_spec import TensorSpec
from distpolicy.trajectories import time_step as ts

VECTOR = BoundedArraySpec((3,), np.float32, -10.0, 10.0)
DISCRETE = BoundedArraySpec((), np.int64, 0, 3)
SMALL = {"input_fc_layer_params": (6,), "lstm_size": (4,), "output_fc_layer_params": (5,), "seed": 1}
FIRST, MID = 0, 1


def observations(*outer: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=(*outer, 3)).astype(np.float32))


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    return {
        "lstm": LSTMEncodingNetwork(VECTOR, **SMALL),
        "gru": LSTMEncodingNetwork(VECTOR, **SMALL, cell="gru"),
        "stacked": LSTMEncodingNetwork(VECTOR, **{**SMALL, "lstm_size": (4, 2)}),
        "value": ValueRnnNetwork(VECTOR, **SMALL),
        "value of gru": ValueRnnNetwork(VECTOR, **SMALL, cell="gru"),
    }


@settings(max_examples=25)
@given(
    name=st.sampled_from(["gru", "lstm", "stacked", "value", "value of gru"]),
    batch_size=st.integers(1, 3),
    num_steps=st.integers(1, 6),
    seed=st.integers(0, 100),
)
def test_sequence_equals_its_single_steps(
    networks: dict[str, Any], name: str, batch_size: int, num_steps: int, seed: int
) -> None:
    network = networks[name]
    generator = np.random.default_rng(seed)
    step_type = np.where(generator.random((batch_size, num_steps)) < 0.4, FIRST, MID).astype(np.int32)
    observation = observations(batch_size, num_steps, seed=seed)
    state = tf.nest.map_structure(
        lambda spec: tf.constant(generator.normal(size=(batch_size, *spec.shape)).astype(np.float32)),
        network.state_spec,
    )
    whole, after = network(observation, step_type=step_type, network_state=state)
    for step in range(num_steps):
        # Reset by hand, so that the network's own reset is what is tested.
        keep = (step_type[:, step] != FIRST).astype(np.float32)[:, np.newaxis]
        state = tf.nest.map_structure(lambda item, keep=keep: item * keep, state)
        one, state = network(observation[:, step], step_type=np.full(batch_size, MID, np.int32), network_state=state)
        np.testing.assert_allclose(whole[:, step], one, rtol=1e-5, atol=1e-5)
    for left, right in zip(tf.nest.flatten(after), tf.nest.flatten(state), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


def test_state_specs_name_sizes_in_the_cells_containers(networks: dict[str, Any]) -> None:
    vector = TensorSpec((4,), tf.float32)
    assert isinstance(networks["lstm"].state_spec, list)
    assert [spec.shape for spec in networks["lstm"].state_spec] == [(4,), (4,)]
    assert len(networks["gru"].state_spec) == 1
    assert networks["gru"].state_spec[0].is_compatible_with(tf.zeros([4]))
    assert networks["gru"].state_spec[0].dtype == vector.dtype
    first, second = networks["stacked"].state_spec
    assert [spec.shape for spec in first] == [(4,), (4,)]
    assert [spec.shape for spec in second] == [(2,), (2,)]
    assert isinstance(networks["stacked"].state_spec, tuple)


def test_tuples_are_taken_for_lists(networks: dict[str, Any]) -> None:
    state = [tf.ones([2, 4]), tf.ones([2, 4])]
    expected, _ = networks["lstm"](observations(2), network_state=state)
    found, after = networks["lstm"](observations(2), network_state=tuple(state))
    np.testing.assert_array_equal(found, expected)
    assert isinstance(after, list)


def test_missing_state_is_the_initial_one(networks: dict[str, Any]) -> None:
    network = networks["value"]
    for outer in ((2,), (2, 3), ()):
        zeros = network.get_initial_state(outer[0] if outer else None)
        expected, _ = network(observations(*outer), network_state=zeros)
        for missing in ((), None):
            np.testing.assert_array_equal(network(observations(*outer), network_state=missing)[0], expected)
        assert expected.shape == outer


def test_state_of_another_size_is_refused(networks: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"network_state/1.*\(4,\)"):
        networks["lstm"](observations(2), network_state=[tf.zeros([2, 4]), tf.zeros([2, 5])])
    with pytest.raises(ValueError, match="network_state"):
        networks["lstm"](observations(2), network_state=[tf.zeros([2, 4])])
    with pytest.raises(ValueError, match=r"\[B, T\]"):
        networks["lstm"](observations(2, 2, 2))


def test_seed_decides_all_initial_weights() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        network = LSTMEncodingNetwork(VECTOR, **{**SMALL, "lstm_size": (4, 4), "seed": seed})
        return [variable.numpy() for variable in network.variables]

    first, again, other = weights(1), weights(1), weights(2)
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left, right)
    for left, right in zip(first, other, strict=True):
        assert not left.any() or not np.array_equal(left, right) or left.ndim == 1
    square = [weight for weight in first if weight.shape == (4, 16)]
    assert len(square) == 3
    assert not np.array_equal(square[0], square[2])


def make_unroll(units: int) -> DynamicUnroll:
    return DynamicUnroll(keras.layers.GRUCell(units))


@pytest.mark.parametrize("maker", [keras.layers.GRU, keras.layers.GRUCell, make_unroll])
def test_recurrent_part_may_be_given(maker: Any) -> None:
    network = LSTMEncodingNetwork(VECTOR, rnn_construction_fn=maker, rnn_construction_kwargs={"units": 3})
    assert [spec.shape for spec in network.state_spec] == [(3,)]
    step_type = np.array([[MID, FIRST]], np.int32)
    whole, _ = network(tf.repeat(observations(1, 1), 2, axis=1), step_type=step_type)
    # Without what came before, the second step is the first.
    np.testing.assert_allclose(whole[:, 0], whole[:, 1], rtol=1e-5)


def test_cells_and_a_maker_of_cells_exclude_each_other() -> None:
    for arguments in ({}, {"lstm_size": (4,), "rnn_construction_fn": keras.layers.GRUCell}):
        with pytest.raises(ValueError, match="either lstm_size or rnn_construction_fn"):
            LSTMEncodingNetwork(VECTOR, **arguments)
    with pytest.raises(ValueError, match="'lstm' or 'gru'"):
        LSTMEncodingNetwork(VECTOR, lstm_size=(4,), cell="rnn")


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_actor_gives_distributions_of_batch_and_time(cell: str, jit_compile: bool) -> None:
    network = ActorDistributionRnnNetwork(VECTOR, {"a": DISCRETE, "b": VECTOR}, **SMALL, cell=cell)
    function = tf.function(lambda *inputs: network(inputs[0], inputs[1])[0]["b"].mode(), jit_compile=jit_compile)
    for outer in ((), (2,), (2, 3)):
        step_type = tf.ones(outer, tf.int32)
        distributions, state = network(observations(*outer), step_type)
        assert distributions["a"].batch_shape == outer
        assert distributions["b"].batch_shape == outer
        assert distributions["b"].event_shape == (3,)
        assert state[0].shape == (*outer[:1], 4)
        mode = function(observations(*outer), step_type)
        np.testing.assert_allclose(mode, distributions["b"].mode(), rtol=1e-4, atol=1e-5)
    assert function.experimental_get_tracing_count() == 3


def test_actor_passes_masks_on() -> None:
    network = ActorDistributionRnnNetwork(VECTOR, DISCRETE, **SMALL)
    mask = tf.constant([[[False, True, False, False]] * 3] * 2)
    distribution, _ = network(observations(2, 3), mask=mask)
    np.testing.assert_array_equal(distribution.mode(), np.ones((2, 3)))


def test_policy_of_an_actor_resets_where_first() -> None:
    network = ActorDistributionRnnNetwork(
        VECTOR, VECTOR, **SMALL, continuous_projection_net=TanhNormalProjectionNetwork
    )
    policy = ActorPolicy(ts.time_step_spec(VECTOR), VECTOR, network)
    assert policy.policy_state_spec == network.state_spec
    observation = observations(2)
    step = ts.transition(observation, tf.zeros([2]))
    state = policy.get_initial_state(2)
    fresh = policy.distribution(step, state).action.mode()
    state = policy.action(step, state).state
    later = policy.distribution(step, state).action.mode()
    assert not np.allclose(later, fresh, atol=1e-4)
    first = policy.distribution(ts.restart(observation, 2), state).action.mode()
    np.testing.assert_allclose(first, fresh, rtol=1e-5, atol=1e-6)


def test_copy_has_the_same_shapes_and_weights_of_its_own() -> None:
    network = ActorDistributionRnnNetwork(VECTOR, DISCRETE, **SMALL)
    copied = network.copy(name="Copy")
    assert copied.name == "Copy"
    assert [item.path for item in copied.named_variables()] == [item.path for item in network.named_variables()]
    assert not {id(item) for item in copied.variables} & {id(item) for item in network.variables}
