"""A policy that acts step by step, by whatever engine, gives the probabilities that a learner's unroll gives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_networks import (
    FIRST,
    LAST,
    MID,
    MIXED,
    OBSERVATION,
    make_policy_net,
    random_observations,
    random_pieces,
)

from distpolicy.agents.acting_policy import make_collect_policy
from distpolicy.distributions.draws import log_prob
from distpolicy.policies import policy_loader
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.time_step import TimeStep, time_step_spec
from distpolicy.utils.nests.array_nest import flatten, map_structure

NUM_STEPS = 7
KINDS = ("everything", "gru", "custom cell", "actor lstm")

# From a time step, a state and seeds to a PolicyStep.
Act = Callable[[TimeStep, Any, np.ndarray], Any]


@functools.cache
def make_policy(kind: str) -> ActorPolicy:
    """A collect policy that draws a mixed action, with a normaliser that has seen observations."""
    policy = make_collect_policy(time_step_spec(OBSERVATION), MIXED, make_policy_net(kind, MIXED), True)
    seen = np.random.default_rng(4).normal(0.3, 1.5, size=(50, 3)).astype(np.float32)
    policy.observation_normalizer.update(tf.constant(seen))
    return policy


def specs_of(policy: TFPolicy, *outer: int) -> tuple[Any, Any]:
    """Specs of batches of time steps and states of any size."""

    def with_outer(nest: Any, outer: tuple[int, ...]) -> Any:
        return tf.nest.map_structure(lambda spec: tf.TensorSpec([None, *outer, *spec.shape], spec.dtype), nest)

    return with_outer(policy.time_step_spec, outer), with_outer(policy.policy_state_spec, ())


@functools.cache
def compiled_act(kind: str) -> Act:
    policy = make_policy(kind)
    signature = [*specs_of(policy), tf.TensorSpec([None, 2], tf.int32)]
    return tf.function(policy.action, autograph=False, input_signature=signature)


@functools.cache
def compiled_unroll(kind: str) -> Callable[[TimeStep, Any, Any], tuple[Any, Any]]:
    """From time steps ``[B, T]``, the state before them and actions to log-probabilities and the state after them."""
    policy = make_policy(kind)
    steps, state = specs_of(policy, NUM_STEPS)
    action = tf.nest.map_structure(
        lambda spec: tf.TensorSpec([None, NUM_STEPS, *spec.shape], spec.dtype), policy.action_spec
    )

    def run(time_step: TimeStep, state: Any, action: Any) -> tuple[Any, Any]:
        step = policy.distribution(time_step, state)
        pairs = zip(flatten(step.action), flatten(action), strict=True)
        return [log_prob(item, drawn) for item, drawn in pairs], step.state

    return tf.function(run, autograph=False, input_signature=[steps, state, action])


def time_steps(observation: np.ndarray, step_type: np.ndarray) -> TimeStep:
    reward = np.zeros(step_type.shape, np.float32)
    return TimeStep(step_type, reward, np.ones_like(reward), observation)


def play(act: Act, steps: TimeStep, state: Any, seed: int) -> tuple[Any, Any, list[Any]]:
    """Acts step by step.

    Returns:
        Actions and infos ``[B, T, ...]``, and the state after each step.
    """
    batch_size, num_steps = steps.step_type.shape
    seeds = np.random.default_rng(seed).integers(2**31, size=(num_steps, batch_size, 2), dtype=np.int32)
    found, states = [], []
    for t in range(num_steps):
        step = act(map_structure(lambda leaf, t=t: leaf[:, t], steps), state, seeds[t])
        state = step.state
        # Whatever holds the arrays may fill them again.
        found.append(tf.nest.map_structure(np.array, (step.action, step.info)))
        states.append(tf.nest.map_structure(np.array, state))
    action, info = tf.nest.map_structure(lambda *leaves: np.stack(leaves, axis=1), *found)
    return action, info, states


def assert_states_close(found: Any, expected: Any) -> None:
    for left, right in zip(flatten(found), flatten(expected), strict=True):
        np.testing.assert_allclose(np.float32(left), np.float32(right), rtol=1e-5, atol=1e-5)


def assert_plays_like_the_unroll(kind: str, act: Act, steps: TimeStep, state: Any, seed: int) -> None:
    action, info, states = play(act, steps, state, seed)
    log_probabilities, after = compiled_unroll(kind)(steps, state, action)
    for found, expected in zip(flatten(info.log_probability), log_probabilities, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert_states_close(states[-1], after)


@settings(max_examples=30)
@given(kind=st.sampled_from(KINDS), batch_size=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_actions_step_by_step_have_the_probabilities_of_the_unroll(kind: str, batch_size: int, seed: int) -> None:
    observation, step_type, state = random_pieces(seed, make_policy(kind).policy_state_spec, batch_size, NUM_STEPS)
    assert_plays_like_the_unroll(kind, compiled_act(kind), time_steps(observation, step_type), state, seed)


@functools.cache
def eager_policy(kind: str, inference: Any) -> PyTFEagerPolicy:
    return PyTFEagerPolicy(
        make_policy(kind), use_tf_function=True, batch_time_steps=False, jit_compile=False, inference=inference
    )


@pytest.mark.parametrize("inference", ["tf", "litert"])
@settings(max_examples=12)
@given(batch_size=st.sampled_from([1, 2, 5]), seed=st.integers(0, 10_000))
def test_eager_policy_of_any_batch_size_plays_like_the_unroll(inference: str, batch_size: int, seed: int) -> None:
    eager = eager_policy("actor lstm", inference)
    observation, step_type, state = random_pieces(seed, eager.policy_state_spec, batch_size, NUM_STEPS)
    assert_plays_like_the_unroll("actor lstm", eager.action, time_steps(observation, step_type), state, seed)
    assert eager.inference == inference, eager.inference_note


@pytest.mark.parametrize("kind", ["everything", "custom cell"])
@pytest.mark.parametrize("inference", ["tf", "litert"])
def test_eager_policy_of_any_kind_plays_like_the_unroll(kind: str, inference: str) -> None:
    eager = eager_policy(kind, inference)
    for seed in range(3):
        observation, step_type, state = random_pieces(seed, eager.policy_state_spec, 4, NUM_STEPS)
        assert_plays_like_the_unroll(kind, eager.action, time_steps(observation, step_type), state, seed)
    assert eager.inference == inference, eager.inference_note
    assert eager.tracing_count == 1


def assert_takes_the_modes_of_the_unroll(kind: str, eager: PyTFEagerPolicy) -> None:
    observation, step_type, state = random_pieces(1, eager.policy_state_spec, 3, NUM_STEPS)
    steps = time_steps(observation, step_type)
    action, _, states = play(eager.action, steps, state, 0)
    found = make_policy(kind).distribution(*tf.nest.map_structure(tf.constant, (steps, state)))
    modes = map_structure(lambda item: item.mode(), found.action)
    np.testing.assert_array_equal(action["gear"], modes["gear"])
    np.testing.assert_allclose(action["steer"], np.clip(modes["steer"], [-1, 0], [1, 4]), rtol=1e-5, atol=1e-5)
    assert_states_close(states[-1], found.state)


def test_greedy_actions_step_by_step_are_the_modes_of_the_unroll() -> None:
    greedy = GreedyPolicy(make_policy("actor lstm"))
    assert_takes_the_modes_of_the_unroll(
        "actor lstm", PyTFEagerPolicy(greedy, use_tf_function=True, batch_time_steps=False)
    )


def test_one_environment_without_a_batch_dimension_plays_like_the_unroll() -> None:
    eager = PyTFEagerPolicy(make_policy("actor lstm"), use_tf_function=True)
    observation, step_type, state = random_pieces(2, eager.policy_state_spec, 1, NUM_STEPS)
    steps = time_steps(observation, step_type)

    def act(time_step: TimeStep, state: Any, seed: np.ndarray) -> Any:
        step = eager.action(map_structure(lambda leaf: leaf[0], time_step), state, seed[0])
        outer = map_structure(lambda leaf: np.asarray(leaf)[np.newaxis], (step.action, step.info))
        return step._replace(action=outer[0], info=outer[1])

    assert_plays_like_the_unroll("actor lstm", act, steps, state, 0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "policy"
    PolicySaver(make_policy("everything")).save(folder)
    return folder


@pytest.mark.slow
def test_saved_and_loaded_policy_plays_like_the_unroll(saved: Path) -> None:
    eager = PyTFEagerPolicy(policy_loader.load(saved), use_tf_function=True, batch_time_steps=False)
    initial = map_structure(np.asarray, eager.get_initial_state(3))
    assert not any(leaf.any() for leaf in flatten(initial))
    observation, step_type, state = random_pieces(0, eager.policy_state_spec, 3, NUM_STEPS)
    steps = time_steps(observation, step_type)
    assert_plays_like_the_unroll("everything", eager.action, steps, state, 0)
    assert_plays_like_the_unroll("everything", eager.action, steps, initial, 1)


def test_saved_greedy_policy_takes_the_modes_of_the_unroll_by_litert(tmp_path: Path) -> None:
    PolicySaver(GreedyPolicy(make_policy("actor lstm"))).save(tmp_path / "policy")
    loaded = policy_loader.load(tmp_path / "policy")
    eager = PyTFEagerPolicy(loaded, use_tf_function=True, batch_time_steps=False, inference="litert")
    assert_takes_the_modes_of_the_unroll("actor lstm", eager)
    assert eager.inference == "litert", eager.inference_note


def test_saved_model_without_distpolicy_s_classes_plays_like_the_unroll(saved: Path) -> None:
    module = tf.saved_model.load(saved)
    initial = module.get_initial_state(tf.constant(2))
    assert not any(np.any(leaf) for leaf in tf.nest.flatten(initial))
    policy = make_policy("everything")
    observation, step_type, _ = random_pieces(5, policy.policy_state_spec, 2, NUM_STEPS)
    steps = time_steps(observation, step_type)

    def act(time_step: TimeStep, state: Any, seed: np.ndarray) -> Any:
        return module.action(tf.nest.map_structure(tf.constant, time_step), state, seed[0])

    action, info, states = play(act, steps, initial, 0)
    # TensorFlow's loader has containers of its own.
    begin = tf.nest.pack_sequence_as(policy.policy_state_spec, tf.nest.flatten(initial))
    log_probabilities, after = compiled_unroll("everything")(steps, begin, dict(action))
    for name, expected in zip(sorted(MIXED), log_probabilities, strict=True):
        np.testing.assert_allclose(info.log_probability[name], expected, rtol=1e-5, atol=1e-5)
    assert_states_close(tf.nest.flatten(states[-1]), after)


@pytest.mark.parametrize("inference", ["tf", "litert"])
def test_state_is_reset_at_first_and_neither_before_nor_after(inference: str) -> None:
    eager = eager_policy("everything", inference)
    observation = np.tile(random_observations(np.random.default_rng(0), 1, NUM_STEPS), (4, 1, 1))
    step_type = np.full((4, NUM_STEPS), MID, np.int32)
    # Row 0 goes on; rows 1 to 3 begin anew at steps 2, 3 and 4, row 3 without a LAST before.
    for row in (1, 2, 3):
        step_type[row, row : row + 2] = (MID if row == 3 else LAST), FIRST
    _, _, states = play(eager.action, time_steps(observation, step_type), eager.get_initial_state(4), 0)
    for row in (1, 2, 3):
        for t in range(NUM_STEPS):
            alike = all(np.allclose(leaf[row], leaf[0], atol=1e-6) for leaf in flatten(states[t]))
            assert alike == (t <= row), (row, t)


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_before_a_first_step_changes_no_bit_after_it(kind: str) -> None:
    policy = make_policy(kind)
    observation, _, state = random_pieces(0, policy.policy_state_spec, 2, NUM_STEPS)
    step_type = np.tile(np.array([MID, MID, LAST, FIRST, MID, MID, MID], np.int32), (2, 1))
    expected = play(compiled_act(kind), time_steps(observation, step_type), state, 0)
    other_observation, _, other_state = random_pieces(1, policy.policy_state_spec, 2, NUM_STEPS)
    other_observation[:, 3:] = observation[:, 3:]
    found = play(compiled_act(kind), time_steps(other_observation, step_type), other_state, 0)
    for left, right in zip(flatten(found[:2]), flatten(expected[:2]), strict=True):
        np.testing.assert_array_equal(left[:, 3:], right[:, 3:])
    for t in range(3, NUM_STEPS):
        for left, right in zip(flatten(found[2][t]), flatten(expected[2][t]), strict=True):
            np.testing.assert_array_equal(left, right)


def test_unroll_begins_anew_only_where_its_first_step_is_first() -> None:
    policy = make_policy("actor lstm")
    observation, step_type, state = random_pieces(0, policy.policy_state_spec, 2, NUM_STEPS)
    other = random_pieces(1, policy.policy_state_spec, 2, NUM_STEPS)[2]
    step_type[:] = MID
    step_type[0, 0], step_type[1, 1] = FIRST, FIRST
    action = tf.nest.map_structure(
        lambda spec: np.zeros((2, NUM_STEPS, *spec.shape), spec.dtype.as_numpy_dtype), policy.action_spec
    )
    steps = time_steps(observation, step_type)
    (one, _), after_one = compiled_unroll("actor lstm")(steps, state, action)
    (two, _), after_two = compiled_unroll("actor lstm")(steps, other, action)
    differ = one.numpy() != two.numpy()
    assert differ.tolist() == [[False] * NUM_STEPS, [True] + [False] * (NUM_STEPS - 1)]
    assert_states_close(after_one, after_two)
