from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.trajectories.policy_step import PolicyInfo
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
        weights_version=np.zeros((5, 2), np.int64),
        first_slot=np.asarray(0, np.int64),
    )


@pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
def test_first_last_and_boundary_are_told_from_the_two_steps(kind: Any) -> None:
    trajectory = Trajectory(kind(STEP_TYPE[:, :-1]), (), (), (), kind(STEP_TYPE[:, 1:]), (), ())
    np.testing.assert_array_equal(trajectory.is_first(), [[True, False, False, True, False]])
    np.testing.assert_array_equal(trajectory.is_last(), [[False, True, False, True, False]])
    np.testing.assert_array_equal(trajectory.is_boundary(), [[False, False, True, False, True]])
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
