from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.trajectories import trajectory as tj
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory, Transition

KINDS = pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
FIRST, MID, LAST = 0, 1, 2


def make(kind: Any, step_type: Any, reward: Any = None, discount: Any = None) -> Trajectory:
    """A trajectory [B, T] of step types [B, T + 1]; everything else counts up."""
    types = np.asarray(step_type, np.int32)
    batch, steps = types.shape[0], types.shape[1] - 1
    count = np.arange(batch * steps, dtype=np.float32).reshape(batch, steps)
    made = Trajectory(
        types[:, :-1],
        {"a": count, "b": (np.stack([count, count + 0.5], axis=-1),)},
        count.astype(np.int64),
        {"log_probability": -count},
        types[:, 1:],
        count + 1 if reward is None else np.asarray(reward, np.float32),
        np.ones_like(count) if discount is None else np.asarray(discount, np.float32),
    )
    return tf.nest.map_structure(kind, made)


def assert_kind(nest: Any, kind: Any) -> None:
    assert {tf.is_tensor(leaf) for leaf in tf.nest.flatten(nest)} == {kind is tf.constant}


@KINDS
def test_transitions_join_each_step_with_the_next(kind: Any) -> None:
    trajectory = make(kind, [[FIRST, MID, LAST, FIRST, MID]])
    before, step, after = tj.to_transition(trajectory)
    assert_kind((before, step, after), kind)
    np.testing.assert_array_equal(before.step_type, [[0, 1, 2]])
    np.testing.assert_array_equal(after.step_type, [[1, 2, 0]])
    np.testing.assert_array_equal(before.observation["a"], [[0, 1, 2]])
    np.testing.assert_array_equal(after.observation["b"][0], [[[1, 1.5], [2, 2.5], [3, 3.5]]])
    np.testing.assert_array_equal(after.reward, [[1, 2, 3]])
    np.testing.assert_array_equal(after.discount, [[1, 1, 1]])
    np.testing.assert_array_equal(step.action, [[0, 1, 2]])
    np.testing.assert_array_equal(step.info["log_probability"], [[0, -1, -2]])
    assert step.state == ()
    assert not np.any(before.reward)
    assert not np.any(before.discount)


@KINDS
def test_two_adjacent_trajectories_make_transitions(kind: Any) -> None:
    both = make(kind, [[FIRST, MID, LAST]])
    here, there = (tf.nest.map_structure(lambda leaf, at=at: leaf[:, at], both) for at in (0, 1))
    before, _, after = tj.to_transition(here, there)
    assert_kind((before, after), kind)
    np.testing.assert_array_equal(before.observation["a"], [0])
    np.testing.assert_array_equal(after.observation["a"], [1])
    np.testing.assert_array_equal(after.step_type, [1])
    np.testing.assert_array_equal(after.reward, [1])


@KINDS
def test_time_dimension_is_squeezed_if_asked(kind: Any) -> None:
    trajectory = make(kind, [[FIRST, MID, MID]])
    squeezed = tj.experience_to_transitions(trajectory, squeeze_time_dim=True)
    assert squeezed.next_time_step.observation["b"][0].shape == (1, 2)
    assert tj.experience_to_transitions(trajectory, False).action_step.action.shape == (1, 1)
    with pytest.raises(ValueError, match="2 steps, but they have 3"):
        tj.experience_to_transitions(make(kind, [[FIRST, MID, MID, MID]]), True)


def test_transitions_of_other_ranks_are_refused() -> None:
    one = tf.nest.map_structure(lambda leaf: leaf[0], make(np.asarray, [[FIRST, MID, MID]]))
    with pytest.raises(ValueError, match=r"must have shape \[B, T\], but has \(2,\)"):
        tj.to_transition(one)
    tj.to_transition(one, one)
    cube = tf.nest.map_structure(lambda leaf: leaf[None], make(np.asarray, [[FIRST, MID, MID]]))
    with pytest.raises(ValueError, match="must have shape"):
        tj.to_transition(cube, cube)


def test_transition_specs_have_no_policy_state() -> None:
    specs = Trajectory("step_type", "observation", "action", "info", "next_step_type", "reward", "discount")
    assert tj.to_transition_spec(specs) == Transition(
        TimeStep("step_type", "reward", "discount", "observation"),
        PolicyStep("action", (), "info"),
        TimeStep("next_step_type", "reward", "discount", "observation"),
    )


def test_transition_is_replaced_by_a_copy() -> None:
    transition = Transition(1, 2, 3)
    assert transition.replace(action_step=5) == Transition(1, 5, 3)
    assert transition == Transition(1, 2, 3)


def reference(step_type: list[int], reward: np.ndarray, discount: np.ndarray, gamma: float) -> tuple[float, float, int]:
    """The n-step return, its discount and the number of steps, one after the other."""
    num = next((index + 1 for index in range(len(reward) - 1) if LAST in step_type[index : index + 2]), len(reward) - 1)
    total, share = 0.0, 1.0
    for index in range(num):
        total += share * reward[index]
        share *= gamma * discount[index]
    # The last gamma is the learner's to multiply by.
    return total, share / gamma, num


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([np.asarray, tf.constant]))
def test_n_step_returns_equal_a_loop_that_stops_at_the_end_of_the_episode(seed: int, steps: int, kind: Any) -> None:
    generator = np.random.default_rng(seed)
    types = []
    for _ in range(4):
        row = [int(generator.integers(0, 3))]
        while len(row) < steps + 1:
            row.append(FIRST if row[-1] == LAST else int(generator.choice([MID, LAST], p=[0.7, 0.3])))
        types.append(row)
    reward = generator.normal(size=(4, steps)).astype(np.float32)
    ended = np.asarray(types)[:, 1:] == LAST
    discount = np.where(ended & (generator.random((4, steps)) < 0.5), 0.0, generator.uniform(0.5, 1.0, (4, steps)))
    trajectory = make(kind, types, reward, discount)
    result = tj.to_n_step_transition(trajectory, 0.9)
    assert_kind(result, kind)
    for row in range(4):
        total, share, num = reference(types[row], reward[row], discount[row], 0.9)
        after = result.next_time_step
        np.testing.assert_allclose(after.reward[row], total, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(after.discount[row], share, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(after.observation["a"][row], trajectory.observation["a"][row, num])
        np.testing.assert_array_equal(after.observation["b"][0][row], trajectory.observation["b"][0][row, num])
        assert int(after.step_type[row]) == types[row][num]
    np.testing.assert_array_equal(result.time_step.observation["a"], np.asarray(trajectory.observation["a"])[:, 0])
    np.testing.assert_array_equal(result.action_step.action, np.asarray(trajectory.action)[:, 0])
    assert np.all(np.isnan(result.time_step.reward))
    assert np.all(np.isnan(result.time_step.discount))


@KINDS
def test_n_step_return_does_not_run_over_a_truncation(kind: Any) -> None:
    # The second transition ends the episode by a time limit: its discount is 1.
    trajectory = make(kind, [[FIRST, MID, LAST, FIRST, MID]], reward=[[1.0, 2.0, 100.0, 100.0]])
    after = tj.to_n_step_transition(trajectory, 0.5).next_time_step
    np.testing.assert_allclose(after.reward, [1.0 + 0.5 * 2.0])
    np.testing.assert_allclose(after.discount, [0.5])
    np.testing.assert_array_equal(after.observation["a"], [2.0])
    assert np.all(after.is_last())


@KINDS
def test_what_stands_beyond_the_end_does_not_count_even_if_it_is_nan(kind: Any) -> None:
    trajectory = make(kind, [[FIRST, LAST, FIRST, MID]], [[1.0, np.nan, np.nan]], [[1.0, np.nan, np.nan]])
    after = tj.to_n_step_transition(trajectory, 0.5).next_time_step
    np.testing.assert_allclose(after.reward, [1.0])
    np.testing.assert_allclose(after.discount, [1.0])


@KINDS
def test_n_step_rewards_may_be_nests_of_vectors(kind: Any) -> None:
    trajectory = make(kind, [[FIRST, MID, MID, MID]])
    reward = {
        "goal": kind(np.array([[1.0, 2.0, 3.0]])),
        "cost": kind(np.array([[[1, 10], [2, 20], [3, 30]]], np.float32)),
    }
    after = tj.to_n_step_transition(trajectory.replace(reward=reward), 0.5).next_time_step
    np.testing.assert_allclose(after.reward["goal"], [2.0])
    np.testing.assert_allclose(after.reward["cost"], [[2.0, 20.0]])


def test_n_step_transitions_are_made_in_a_graph_with_open_sizes() -> None:
    signature = tf.nest.map_structure(
        lambda leaf: tf.TensorSpec([None, None, *leaf.shape[2:]], leaf.dtype), make(tf.constant, [[FIRST, MID, MID]])
    )
    call = tf.function(lambda trajectory: tj.to_n_step_transition(trajectory, tf.constant(0.5)), [signature])
    trajectory = make(tf.constant, [[FIRST, MID, MID, MID], [FIRST, LAST, FIRST, MID]])
    tf.nest.map_structure(np.testing.assert_allclose, call(trajectory), tj.to_n_step_transition(trajectory, 0.5))


def test_n_step_trajectories_of_other_shapes_are_refused() -> None:
    trajectory = make(np.asarray, [[FIRST, MID]])
    with pytest.raises(ValueError, match="at least 2 steps, but has 1"):
        tj.to_n_step_transition(trajectory, 0.5)
    with pytest.raises(ValueError, match="must have shape"):
        tj.to_n_step_transition(tf.nest.map_structure(lambda leaf: leaf[0], trajectory), 0.5)
