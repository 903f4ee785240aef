"""Recurrent networks unrolled at once give what they give step by step: those of the library, and a user's."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_networks import (
    FIRST,
    KINDS,
    MIXED,
    OBSERVATION,
    NotebookNetwork,
    make_policy_net,
    random_pieces,
    reset_rows,
)

from distpolicy.distributions.draws import log_prob
from distpolicy.keras_layers.dynamic_unroll_layer import DynamicUnroll
from distpolicy.networks.network import Network
from distpolicy.networks.sequential import Sequential
from distpolicy.networks.value_rnn_network import ValueRnnNetwork
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.testing import RecurrentNetworkConformance

NUM_STEPS = 7


class TestLSTM(RecurrentNetworkConformance):
    def make_network(self) -> Network:
        return make_policy_net("lstm", MIXED)


class TestNestedState(RecurrentNetworkConformance):
    def make_network(self) -> Network:
        return make_policy_net("nested state")


class TestLayersInSequence(RecurrentNetworkConformance):
    """A recurrent Keras layer and a network with a state, each with its own, in one chain."""

    def make_network(self) -> Network:
        # No unit of tanh is dead, whatever it begins with: some would show nothing of the state.
        value = ValueRnnNetwork(
            ArraySpec((4,), np.float32), None, None, None, (4,), None, (5,), (4,), "tanh", cell="gru"
        )
        return Sequential([keras.layers.LSTM(4, return_sequences=True), value], OBSERVATION)


@functools.cache
def compiled(kind: str) -> tuple[Any, Any, Any]:
    """The network's state spec, and its unroll of sequences and its step of batches of any size, compiled."""
    network = make_policy_net(kind, MIXED)

    def run(observation: Any, step_type: Any, state: Any, action: Any) -> Any:
        distribution, after = network(observation, step_type=step_type, network_state=state)
        # Not by tf.nest, which looks into distributions.
        return {key: log_prob(distribution[key], action[key]) for key in action}, after

    def function(*outer: int) -> Any:
        def spec(leaf: Any) -> tf.TensorSpec:
            return tf.TensorSpec([None, *outer, *leaf.shape], leaf.dtype)

        state = tf.nest.map_structure(lambda leaf: tf.TensorSpec([None, *leaf.shape], leaf.dtype), network.state_spec)
        action = tf.nest.map_structure(spec, {"gear": tf.TensorSpec((), tf.int64), "steer": tf.TensorSpec((2,))})
        signature = [spec(tf.TensorSpec((3,))), spec(tf.TensorSpec((), tf.int32)), state, action]
        return tf.function(run, autograph=False, input_signature=signature)

    return network.state_spec, function(NUM_STEPS), function()


@settings(max_examples=40)
@given(kind=st.sampled_from(KINDS), batch_size=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_sequence_equals_its_single_steps_under_any_step_types(kind: str, batch_size: int, seed: int) -> None:
    state_spec, unroll, step = compiled(kind)
    observation, step_type, state = random_pieces(seed, state_spec, batch_size, NUM_STEPS)
    generator = np.random.default_rng(seed)
    action = {
        "gear": generator.integers(0, 4, (batch_size, NUM_STEPS)),
        "steer": generator.normal(size=(batch_size, NUM_STEPS, 2)).astype(np.float32),
    }
    whole, after = unroll(observation, step_type, state, action)
    for t in range(NUM_STEPS):
        # The network's own reset, and one by hand in its place, are the same.
        by_hand = reset_rows(step_type[:, t] == FIRST, state)
        actions = tf.nest.map_structure(lambda leaf, t=t: leaf[:, t], action)
        single, state = step(observation[:, t], step_type[:, t], state, actions)
        other, other_state = step(observation[:, t], np.ones_like(step_type[:, t]), by_hand, actions)
        for key, value in single.items():
            np.testing.assert_allclose(whole[key][:, t], value, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(other[key], value, rtol=1e-5, atol=1e-5)
        assert_states_close(other_state, state)
    assert_states_close(after, state)


def assert_states_close(found: Any, expected: Any) -> None:
    for left, right in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(np.float32(left), np.float32(right), rtol=1e-5, atol=1e-5)


class ShiftedUnroll(DynamicUnroll):
    """Takes its resets from the step before (1) or after (-1) the one that they belong to."""

    shift = 0

    def call(self, inputs: Any, initial_state: Any = None, reset_mask: Any = None, training: bool = False) -> Any:
        if self.shift and reset_mask is not None and len(reset_mask.shape) == 2:
            reset_mask = tf.roll(reset_mask, self.shift, axis=1)
        return super().call(inputs, initial_state, reset_mask, training)


@pytest.mark.parametrize("shift", [0, 1, -1])
def test_a_reset_that_is_off_by_one_step_is_found(shift: int) -> None:
    unroll = ShiftedUnroll(keras.layers.LSTMCell(4))
    unroll.shift = shift
    suite = RecurrentNetworkConformance()
    network = Sequential([unroll], OBSERVATION)
    network.create_variables()

    def check(place: str) -> None:
        suite.test_state_is_reset_at_first_and_neither_before_nor_after(network, place)

    for place in ("begin", "middle", "end"):
        if shift:
            with pytest.raises(AssertionError, match="step"):
                check(place)
        else:
            check(place)


class ForgetfulNetwork(NotebookNetwork):
    """Resets in single steps only."""

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        sequence = observation.shape.rank == 3
        return super().call(observation, None if sequence else step_type, network_state, training)


def test_a_network_that_resets_in_single_steps_only_is_found() -> None:
    suite = RecurrentNetworkConformance()
    network = ForgetfulNetwork(OBSERVATION)
    network.create_variables()
    suite.test_state_is_carried_where_nothing_begins(network)
    with pytest.raises(AssertionError):
        suite.test_no_gradient_crosses_first(network)
    with pytest.raises(AssertionError):
        suite.test_sequence_equals_its_single_steps(network, 0)
