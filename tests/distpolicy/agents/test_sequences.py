"""Sequences begin with the states that the policy had there, and how they are cut changes neither states nor values."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_networks import (
    DISCRETE,
    FIRST,
    LAST,
    MID,
    OBSERVATION,
    make_networks,
    random_observations,
    random_pieces,
)

from distpolicy.agents.acting_policy import make_collect_policy
from distpolicy.agents.actor_critic import ActorCritic
from distpolicy.agents.sequences import SequenceStates, burned_in, cut_burn_in, cut_sequences, unroll_sequences
from distpolicy.distributions.draws import log_prob
from distpolicy.errors import ConfigError
from distpolicy.networks.value_rnn_network import ValueRnnNetwork
from distpolicy.ops.gae import generalized_advantage_estimation
from distpolicy.trajectories.time_step import TimeStep, time_step_spec
from distpolicy.utils.nests.array_nest import flatten

NUM_SLOTS, NUM_STEPS = 3, 4
LENGTHS = (1, 2, 4)
KINDS = ("everything", "actor lstm")


@functools.cache
def make_actor_critic(kind: str) -> ActorCritic:
    return ActorCritic(OBSERVATION, **make_networks(kind))


@functools.cache
def compiled_unroll(kind: str, length: int, burn_in: int) -> Any:
    actor_critic = make_actor_critic(kind)

    def run(observation: Any, step_type: Any, state: Any) -> Any:
        unrolled = unroll_sequences(actor_critic, observation, step_type, state, length, burn_in)
        return unrolled.value, unrolled.states.start, unrolled.states.burn_in

    return tf.function(run, autograph=False)


@functools.cache
def compiled_step(kind: str) -> Any:
    """A policy's step and the values, of batches of NUM_SLOTS; the policy is the one that a collector builds."""
    actor_critic = make_actor_critic(kind)
    policy = make_collect_policy(time_step_spec(OBSERVATION), DISCRETE, actor_critic.policy_network, False)

    def run(observation: Any, step_type: Any, state: Any) -> Any:
        zeros = tf.zeros(step_type.shape)
        after = policy.distribution(TimeStep(step_type, zeros, zeros + 1.0, observation), state).state
        return actor_critic(observation, step_type, state)[1], after

    return tf.function(run, autograph=False)


def pieces(kind: str, seed: int) -> tuple[Any, Any, Any]:
    """Observations and step types of T + 1 steps, and the state before them."""
    spec = make_actor_critic(kind).policy_network.state_spec
    return tf.nest.map_structure(tf.constant, random_pieces(seed, spec, NUM_SLOTS, NUM_STEPS + 1))


@functools.cache
def by_single_steps(kind: str, seed: int) -> tuple[np.ndarray, list[Any]]:
    """Values ``[B, T + 1]``, and the state before each step."""
    observation, step_type, state = pieces(kind, seed)
    values, states = [], []
    for t in range(NUM_STEPS + 1):
        states.append(tf.nest.map_structure(np.asarray, state))
        value, state = compiled_step(kind)(observation[:, t], step_type[:, t], state)
        values.append(value.numpy())
    return np.stack(values, axis=1), states


def assert_states_are_those_before(found: Any, states: list[Any], steps: list[int]) -> None:
    """That states ``[B * C, ...]``, in order of slots, are those before these steps."""
    expected = tf.nest.map_structure(
        lambda *leaves: np.stack(leaves, axis=1).reshape(-1, *leaves[0].shape[1:]), *[states[t] for t in steps]
    )
    for left, right in zip(flatten(found), flatten(expected), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_allclose(np.float32(left), np.float32(right), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", LENGTHS)
def test_states_and_values_are_those_of_single_steps_for_every_length_and_burn_in(length: int) -> None:
    kind = "stacked"
    values, states = by_single_steps(kind, 0)
    for burn_in in range(length + 1):
        found, start, before = compiled_unroll(kind, length, burn_in)(*pieces(kind, 0))
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-5)
        begins = list(range(0, NUM_STEPS, length))
        assert_states_are_those_before(start, states, begins)
        if burn_in:
            # A slot's first sequence has no steps before it; what stands there is the rollout's first state.
            assert_states_are_those_before(before, states, [max(t - burn_in, 0) for t in begins])
        else:
            assert before == ()


@settings(max_examples=25)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000))
def test_states_and_values_are_those_of_single_steps_under_any_step_types(kind: str, seed: int) -> None:
    length = 2
    values, states = by_single_steps(kind, seed)
    found, start, before = compiled_unroll(kind, length, 2)(*pieces(kind, seed))
    np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-5)
    begins = list(range(0, NUM_STEPS, length))
    assert_states_are_those_before(start, states, begins)
    assert_states_are_those_before(before, states, [max(t - 2, 0) for t in begins])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "burn_in"), [(1, 1), (2, 1), (2, 2)])
def test_burn_in_with_unchanged_weights_comes_to_the_stored_states(kind: str, length: int, burn_in: int) -> None:
    observation, step_type, state = pieces(kind, 1)
    _, start, before = compiled_unroll(kind, length, burn_in)(observation, step_type, state)
    is_first = tf.tile(tf.range(NUM_STEPS // length) == 0, [NUM_SLOTS])
    steps = cut_burn_in(observation[:, :-1], length, burn_in)
    types = cut_burn_in(step_type[:, :-1], length, burn_in)
    # A slot's first sequence has no steps before it: whatever stands there is not looked at.
    steps = tf.where(is_first[:, tf.newaxis, tf.newaxis], np.nan, steps)
    found = burned_in(make_actor_critic(kind), steps, types, SequenceStates(start, before), is_first)
    for left, right in zip(flatten(found), flatten(start), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_allclose(np.float32(left), np.float32(right), rtol=1e-5, atol=1e-5)
    for left, right in zip(flatten(found), flatten(start), strict=True):
        np.testing.assert_array_equal(left[is_first], right[is_first])


def test_sequences_are_cut_in_order_of_slots_and_then_of_time() -> None:
    steps = tf.reshape(tf.range(12), [2, 6])
    assert cut_sequences(steps, 3).numpy().tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    # Those of a slot's first sequence are not its own.
    assert cut_burn_in(steps, 3, 2).numpy()[[1, 3]].tolist() == [[1, 2], [7, 8]]
    assert cut_burn_in(steps, 2, 1).numpy()[[1, 2, 4, 5]].tolist() == [[1], [3], [7], [9]]
    assert cut_sequences(steps[..., tf.newaxis], 2).shape == (6, 2, 1)


@pytest.mark.parametrize(("kind", "jit_compile"), [("everything", False), ("actor lstm", False), ("lstm", True)])
def test_what_lies_beyond_a_first_step_changes_no_gradient(kind: str, jit_compile: bool) -> None:
    """Of the loss of one episode: by observations, actions and rewards of the other, or the state before both."""
    actor_critic = make_actor_critic(kind)
    trained = [*actor_critic.policy_network.trainable_variables, *actor_critic.value_network.trainable_variables]
    begin = 2
    step_type = np.tile(np.array([MID, LAST, FIRST, MID, MID], np.int32), (NUM_SLOTS, 1))

    @functools.partial(tf.function, autograph=False, jit_compile=jit_compile)
    def gradients(weights: Any, observation: Any, action: Any, reward: Any, state: Any) -> Any:
        value = unroll_sequences(actor_critic, observation, tf.constant(step_type), state, 2, 0).value
        boundary = tf.constant(step_type[:, :-1] == LAST)
        advantage = generalized_advantage_estimation(reward, 0.9 * tf.ones_like(reward), value, boundary, 0.8)
        with tf.GradientTape() as tape:
            distribution, value, _ = actor_critic(observation[:, :-1], tf.constant(step_type[:, :-1]), state)
            losses = log_prob(distribution, action) * advantage + tf.square(value - advantage)
            loss = tf.reduce_sum(losses * weights)
        return tape.gradient(loss, trained, unconnected_gradients="zero")

    def pieces(seed: int) -> list[np.ndarray]:
        generator = np.random.default_rng(seed)
        observation = random_observations(generator, NUM_SLOTS, NUM_STEPS + 1)
        action = generator.integers(0, 4, (NUM_SLOTS, NUM_STEPS))
        return [observation, action, generator.normal(size=action.shape).astype(np.float32)]

    spec = actor_critic.policy_network.state_spec
    state, other_state = (random_pieces(seed, spec, NUM_SLOTS, 1)[2] for seed in (0, 1))
    one, other = pieces(0), pieces(1)
    earlier = [
        np.concatenate([right[:, :begin], left[:, begin:]], axis=1) for left, right in zip(one, other, strict=True)
    ]
    later = [
        np.concatenate([left[:, :begin], right[:, begin:]], axis=1) for left, right in zip(one, other, strict=True)
    ]
    is_earlier = np.tile(np.arange(NUM_STEPS) < begin - 1, (NUM_SLOTS, 1)).astype(np.float32)
    is_later = np.tile(np.arange(NUM_STEPS) >= begin, (NUM_SLOTS, 1)).astype(np.float32)
    for weights, beyond, states in ((is_earlier, later, (state, state)), (is_later, earlier, (state, other_state))):
        expected = gradients(weights, *one, states[0])
        assert all(np.abs(gradient).max() > 0 for gradient in expected)
        for found, gradient in zip(gradients(weights, *beyond, states[1]), expected, strict=True):
            np.testing.assert_allclose(found, gradient, rtol=1e-6, atol=1e-6)
        # The same change does reach the gradient of the episode that it was made in.
        changed = gradients(1.0 - weights, *beyond, states[1])
        assert not np.allclose(changed[0], gradients(1.0 - weights, *one, states[0])[0], atol=1e-3)


def test_networks_whose_state_nobody_would_carry_are_refused() -> None:
    networks = make_networks("lstm")
    value = ValueRnnNetwork(OBSERVATION, None, None, None, (4,), None, (5,), (4,), seed=1)
    with pytest.raises(ConfigError, match=r"value_network ValueRnnNetwork has a state"):
        ActorCritic(OBSERVATION, networks["actor_network"], value, networks["encoding_network"])
    recurrent = make_networks("actor lstm")["actor_network"]
    with pytest.raises(ConfigError, match="put all that is recurrent into the encoding_network"):
        ActorCritic(OBSERVATION, recurrent, networks["value_network"], networks["encoding_network"])
