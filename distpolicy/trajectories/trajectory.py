"""Trajectory: transitions as they are stored and learned from, as in TF-Agents.

The functions take arrays or tensors; TensorFlow is only imported for tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.trajectories.trajectory_tuple import Trajectory
from distpolicy.trajectories.transitions import (
    Transition,
    experience_to_transitions,
    has_tensors,
    to_n_step_transition,
    to_transition,
    to_transition_spec,
)
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths

__all__ = [
    "Trajectory",
    "Transition",
    "boundary",
    "experience_to_transitions",
    "first",
    "from_episode",
    "from_transition",
    "last",
    "mid",
    "single_step",
    "to_n_step_transition",
    "to_transition",
    "to_transition_spec",
]


def first(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any) -> Trajectory:
    """Transitions from FIRST to MID.

    Args:
        observation: Nest of arrays or tensors ``[..., *shape]``.
        action: The same.
        policy_info: The same.
        reward: The same.
        discount: Floats ``[...]``; its shape is that of the step types.

    Returns:
        A trajectory of tensors if there is a tensor among the arguments, and of arrays otherwise.
    """
    return _uniform(StepType.FIRST, StepType.MID, observation, action, policy_info, reward, discount)


def mid(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any) -> Trajectory:
    """Transitions from MID to MID; arguments and result are as for :func:`first`."""
    return _uniform(StepType.MID, StepType.MID, observation, action, policy_info, reward, discount)


def last(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any) -> Trajectory:
    """Transitions from MID to LAST; arguments and result are as for :func:`first`."""
    return _uniform(StepType.MID, StepType.LAST, observation, action, policy_info, reward, discount)


def single_step(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any) -> Trajectory:
    """Transitions from FIRST to LAST; arguments and result are as for :func:`first`."""
    return _uniform(StepType.FIRST, StepType.LAST, observation, action, policy_info, reward, discount)


def boundary(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any) -> Trajectory:
    """Transitions from LAST to FIRST; arguments and result are as for :func:`first`."""
    return _uniform(StepType.LAST, StepType.FIRST, observation, action, policy_info, reward, discount)


def _uniform(
    step_type: np.ndarray,
    next_step_type: np.ndarray,
    observation: Any,
    action: Any,
    policy_info: Any,
    reward: Any,
    discount: Any,
) -> Trajectory:
    parts = (observation, action, policy_info, reward, discount)
    if has_tensors(parts):
        import tensorflow as tf

        observation, action, policy_info, reward, discount = map_structure(tf.convert_to_tensor, parts)
        shape = discount.shape if discount.shape.is_fully_defined() else tf.shape(discount)
        types = [tf.fill(shape, tf.constant(kind)) for kind in (step_type, next_step_type)]
    else:
        observation, action, policy_info, reward, discount = map_structure(np.asarray, parts)
        types = [np.full(discount.shape, kind, np.int32) for kind in (step_type, next_step_type)]
    return Trajectory(types[0], observation, action, policy_info, types[1], reward, discount)


def from_episode(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any = None) -> Trajectory:
    """One whole episode: FIRST, MID, …, and LAST after its last step.

    Args:
        observation: Nest of arrays or tensors ``[T, *shape]``.
        action: The same.
        policy_info: The same.
        reward: The same.
        discount: Floats ``[T]``; None for 1 everywhere.

    Returns:
        A trajectory of tensors if there is a tensor among the arguments, and of arrays otherwise.

    Raises:
        ValueError: If the discount has another number of dimensions, or a part another number of steps.
    """
    parts = (observation, action, policy_info, reward)
    if has_tensors((*parts, discount)):
        import tensorflow as tf

        observation, action, policy_info, reward = map_structure(tf.convert_to_tensor, parts)
        if discount is None:
            discount = tf.ones(tf.shape(flatten(reward)[0])[:1], tf.float32)
        discount = tf.convert_to_tensor(discount)
        _check_episode((observation, action, policy_info, reward), discount)
        step = tf.range(tf.shape(discount)[0])
        step_type = tf.where(step == 0, StepType.FIRST, StepType.MID)
        next_step_type = tf.where(step == tf.shape(discount)[0] - 1, StepType.LAST, StepType.MID)
    else:
        observation, action, policy_info, reward = map_structure(np.asarray, parts)
        discount = np.ones(flatten(reward)[0].shape[:1], np.float32) if discount is None else np.asarray(discount)
        _check_episode((observation, action, policy_info, reward), discount)
        step = np.arange(len(discount))
        step_type = np.where(step == 0, StepType.FIRST, StepType.MID)
        next_step_type = np.where(step == len(discount) - 1, StepType.LAST, StepType.MID)
    return Trajectory(step_type, observation, action, policy_info, next_step_type, reward, discount)


def _check_episode(parts: tuple[Any, ...], discount: Any) -> None:
    if len(discount.shape) != 1:
        raise ValueError(f"from_episode: discount must have shape [T], but has {discount.shape}")
    named = dict(zip(("observation", "action", "policy_info", "reward"), parts, strict=True))
    for path, leaf in zip(paths(named), flatten(named), strict=True):
        # Of tensors in a graph a length may be unknown.
        lengths = {None if not len(leaf.shape) else leaf.shape[0], discount.shape[0]}
        if not len(leaf.shape) or (len(lengths) > 1 and None not in lengths):
            raise ValueError(
                f"from_episode: {path[1:]} must have {discount.shape[0]} steps, but has shape {leaf.shape}"
            )


def from_transition(time_step: TimeStep, action_step: PolicyStep, next_time_step: TimeStep) -> Trajectory:
    """The trajectory of a transition, of the same outer dimensions.

    Args:
        time_step: What was acted on.
        action_step: The policy's answer; its state is not part of a trajectory.
        next_time_step: What followed; reward and discount are taken from it.
    """
    return Trajectory(
        time_step.step_type,
        time_step.observation,
        action_step.action,
        action_step.info,
        next_time_step.step_type,
        next_time_step.reward,
        next_time_step.discount,
    )
