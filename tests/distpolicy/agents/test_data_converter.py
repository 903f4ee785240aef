"""Converters of experience: shapes, what is dropped, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.data_converter import (
    AsHalfTransition,
    AsNStepTransition,
    AsTrajectory,
    AsTransition,
    DataContext,
)
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.trajectories import trajectory
from distpolicy.trajectories.time_step import time_step_spec

STEP_SPEC = time_step_spec({"eye": TensorSpec((3,), tf.float32)})
ACTION_SPEC = BoundedTensorSpec((), tf.int32, 0, 4)
CONTEXT = DataContext(STEP_SPEC, ACTION_SPEC, ())
B = 2


def sequences(num_steps: int, **more: Any) -> Any:
    """A Trajectory ``[B, T]`` whose rewards and actions count its steps."""
    steps = np.tile(np.arange(num_steps), (B, 1))
    ones = np.ones((B, num_steps), np.int32)
    observation = {"eye": np.repeat(steps[..., np.newaxis], 3, axis=-1).astype(np.float32), **more}
    made = trajectory.Trajectory(
        ones, observation, steps.astype(np.int32), (), ones, steps.astype(np.float32), ones.astype(np.float32)
    )
    return tf.nest.map_structure(tf.constant, made)


def test_a_trajectory_becomes_transitions_and_these_a_trajectory_again() -> None:
    transitions = AsTransition(CONTEXT)(sequences(4))
    assert transitions.time_step.observation["eye"].shape == (B, 3, 3)
    np.testing.assert_array_equal(transitions.next_time_step.observation["eye"][0, :, 0], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(transitions.next_time_step.reward[0], [0.0, 1.0, 2.0])
    again = AsTrajectory(CONTEXT, sequence_length=3)(transitions)
    tf.nest.map_structure(
        np.testing.assert_array_equal, again, tf.nest.map_structure(lambda leaf: leaf[:, :3], sequences(4))
    )


def test_two_steps_become_one_transition_without_time() -> None:
    transition = AsTransition(CONTEXT, squeeze_time_dim=True)(sequences(2))
    assert transition.action_step.action.shape == (B,)
    same = AsTransition(CONTEXT, squeeze_time_dim=True)(transition)
    tf.nest.map_structure(np.testing.assert_array_equal, same, transition)
    with pytest.raises(ValueError, match="must have 2 steps, but have 3"):
        AsTransition(CONTEXT, squeeze_time_dim=True)(sequences(3))


def test_the_first_observation_is_put_before_the_next_ones() -> None:
    found = AsTransition(CONTEXT, prepend_t0_to_next_time_step=True)(sequences(3))
    np.testing.assert_array_equal(found.next_time_step.observation["eye"][0, :, 0], [0.0, 1.0, 2.0])


def test_half_transitions_have_no_next_observation() -> None:
    context = DataContext(STEP_SPEC, ACTION_SPEC, (), use_half_transition=True)
    found = AsHalfTransition(context, squeeze_time_dim=True)(sequences(1))
    assert found.time_step.observation["eye"].shape == (B, 3)
    np.testing.assert_array_equal(found.next_time_step.observation, np.zeros(B))
    assert AsHalfTransition(context)(sequences(5)).next_time_step.reward.shape == (B, 5)


def test_rewards_of_several_steps_are_added_up() -> None:
    found = AsNStepTransition(CONTEXT, gamma=0.5, n=3)(sequences(4))
    np.testing.assert_allclose(found.next_time_step.reward, [0.0 + 0.5 * 1.0 + 0.25 * 2.0] * B)
    with pytest.raises(ValueError, match="must have 3 steps, but have 4"):
        AsNStepTransition(CONTEXT, gamma=0.5, n=2)(sequences(4))


def test_entries_that_the_specs_lack_are_dropped() -> None:
    found = AsTrajectory(CONTEXT)(sequences(3, ear=np.zeros((B, 3), np.float32)))
    assert set(found.observation) == {"eye"}


def test_other_data_and_other_dimensions_are_refused() -> None:
    for converter in (AsTrajectory(CONTEXT), AsTransition(CONTEXT), AsNStepTransition(CONTEXT, 1.0)):
        with pytest.raises(TypeError, match="takes a Trajectory or a Transition, not dict"):
            converter({})
    flat = tf.nest.map_structure(lambda leaf: leaf[0], sequences(3))
    with pytest.raises(ValueError, match="outer dimensions"):
        AsTrajectory(CONTEXT)(flat)
    with pytest.raises(TypeError, match="action_spec must be a tensor spec"):
        DataContext(STEP_SPEC, np.zeros(2), ())
