from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy import trajectories
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories import trajectory as tj
from distpolicy.trajectories.policy_step import PolicyInfo, PolicyStep
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.trajectory import Trajectory

# Two episodes of one slot, and a third that goes on.
STEP_TYPE = np.array([[0, 1, 2, 0, 2, 0]], np.int32)


def rollout() -> Rollout:
    return Rollout(
        observation=np.arange(18, dtype=np.float32).reshape(1, 6, 3),
        step_type=STEP_TYPE,
        action=np.arange(5)[np.newaxis],
        policy_info=PolicyInfo(np.zeros((1, 5), np.float32)),
        reward=np.arange(5, dtype=np.float32)[np.newaxis],
        discount=np.ones((1, 5), np.float32),
        policy_state=(),
        discounted_return=np.zeros(1),
        cuts=np.zeros((1, 5), np.bool_),
        weights_version=np.zeros((1, 2), np.int64),
        first_step=np.zeros((1, 2), np.int64),
        first_slot=np.asarray(0, np.int64),
    )


@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
def test_first_last_and_boundary_are_told_from_the_two_steps(kind: Any) -> None:
    trajectory = Trajectory(kind(STEP_TYPE[:, :-1]), (), (), (), kind(STEP_TYPE[:, 1:]), (), ())
    np.testing.assert_array_equal(trajectory.is_first(), [[True, False, False, True, False]])
    np.testing.assert_array_equal(trajectory.is_last(), [[False, True, False, True, False]])
    np.testing.assert_array_equal(trajectory.is_boundary(), [[False, False, True, False, True]])
    np.testing.assert_array_equal(trajectory.is_mid(), [[False, False, False, False, False]])
    middle = Trajectory(kind([1, 1, 0]), (), (), (), kind([1, 2, 1]), (), ())
    np.testing.assert_array_equal(middle.is_mid(), [True, False, False])
    assert tf.is_tensor(trajectory.is_boundary()) == (kind is tf.constant)


def test_rollout_is_a_trajectory_of_views() -> None:
    whole = rollout()
    trajectory = whole.trajectory
    assert (whole.num_slots, whole.num_steps) == (1, 5)
    np.testing.assert_array_equal(trajectory.step_type, STEP_TYPE[:, :5])
    np.testing.assert_array_equal(trajectory.next_step_type, STEP_TYPE[:, 1:])
    np.testing.assert_array_equal(trajectory.observation, whole.observation[:, :5])
    assert np.shares_memory(trajectory.observation, whole.observation)
    assert np.shares_memory(trajectory.next_step_type, whole.step_type)
    assert trajectory.action is whole.action
    assert trajectory.reward is whole.reward
    assert trajectory.discount is whole.discount
    assert trajectory.policy_info is whole.policy_info


CONSTRUCTORS = pytest.mark.parametrize(
    ("name", "step_type", "next_step_type"),
    [("first", 0, 1), ("mid", 1, 1), ("last", 1, 2), ("single_step", 0, 2), ("boundary", 2, 0)],
)


@CONSTRUCTORS
@pytest.mark.parametrize("outer", [(), (2,), (2, 3)])
@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
def test_trajectories_of_one_kind_of_step(
    name: str, step_type: int, next_step_type: int, outer: tuple[int, ...], kind: Any
) -> None:
    observation = {"a": kind(np.zeros((*outer, 4)))}
    made = getattr(tj, name)(observation, kind(np.ones(outer)), (), kind(np.ones(outer)), kind(np.ones(outer)))
    np.testing.assert_array_equal(made.step_type, np.full(outer, step_type))
    np.testing.assert_array_equal(made.next_step_type, np.full(outer, next_step_type))
    assert made.step_type.dtype == np.int32
    assert {tf.is_tensor(leaf) for leaf in tf.nest.flatten(made)} == {kind is tf.constant}
    assert made.policy_info == ()


def test_one_tensor_makes_all_of_them_tensors() -> None:
    made = tj.mid(np.zeros((2, 3)), np.zeros(2), {"x": np.zeros(2)}, np.zeros(2), tf.ones([2]))
    assert all(tf.is_tensor(leaf) for leaf in tf.nest.flatten(made))
    made = tj.from_episode(tf.zeros([2, 3]), np.zeros(2), (), np.zeros(2))
    assert all(tf.is_tensor(leaf) for leaf in tf.nest.flatten(made))


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
def test_episode_begins_with_first_and_ends_with_last(steps: int, kind: Any) -> None:
    reward = {"r": kind(np.arange(steps, dtype=np.float32))}
    made = tj.from_episode(kind(np.zeros((steps, 3))), kind(np.zeros(steps)), (), reward)
    np.testing.assert_array_equal(made.step_type, [0, *[1] * (steps - 1)])
    np.testing.assert_array_equal(made.next_step_type, [*[1] * (steps - 1), 2])
    np.testing.assert_array_equal(made.discount, np.ones(steps))
    for leaf, dtype in ((made.step_type, np.int32), (made.next_step_type, np.int32), (made.discount, np.float32)):
        assert tf.is_tensor(leaf) == (kind is tf.constant)
        assert leaf.dtype == dtype
    given = kind(np.linspace(1, 0, steps))
    made = tj.from_episode(kind(np.zeros((steps, 3))), kind(np.zeros(steps)), (), reward, given)
    np.testing.assert_array_equal(made.discount, given)


@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
def test_parts_of_an_episode_must_be_of_one_length(kind: Any) -> None:
    with pytest.raises(ValueError, match="observation/a must have 4 steps, but has shape"):
        tj.from_episode({"a": kind(np.zeros((3, 2)))}, kind(np.zeros(4)), (), kind(np.zeros(4)))
    with pytest.raises(ValueError, match=r"discount must have shape \[T\]"):
        tj.from_episode(kind(np.zeros(4)), kind(np.zeros(4)), (), kind(np.zeros(4)), kind(1.0))


def test_trajectory_of_a_transition_takes_reward_and_discount_of_what_followed() -> None:
    before = ts.restart(np.zeros((2, 3)), 2)
    after = ts.truncation(np.ones((2, 3)), [1.0, 2.0], 0.5)
    made = tj.from_transition(before, PolicyStep(np.array([3, 4]), "state", "info"), after)
    assert made.is_first().all()
    assert made.is_last().all()
    assert made.policy_info == "info"
    np.testing.assert_array_equal(made.action, [3, 4])
    np.testing.assert_array_equal(made.observation, before.observation)
    np.testing.assert_array_equal(made.reward, [1.0, 2.0])
    np.testing.assert_array_equal(made.discount, [0.5, 0.5])
    assert made.replace(action=7).action == 7
    assert made.action is not None


def test_package_holds_the_names_that_tf_agents_holds() -> None:
    for name in ("StepType", "TimeStep", "restart", "termination", "time_step_spec", "transition", "truncation"):
        assert getattr(trajectories, name) is getattr(ts, name)
    constructors = ("boundary", "first", "from_transition", "last", "mid", "single_step")
    transitions = ("Transition", "to_n_step_transition", "to_transition", "to_transition_spec")
    for name in ("Trajectory", *constructors, *transitions):
        assert getattr(trajectories, name) is getattr(tj, name)
