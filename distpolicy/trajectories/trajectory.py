"""Trajectory: transitions for storage and for learning, as in TF-Agents.

The functions take arrays or tensors. They import TensorFlow only for tensors.
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
    """Returns transitions from FIRST to MID.

    Args:
        observation: Nest of arrays or tensors ``[..., *shape]``.
        action: Nest of arrays or tensors ``[..., *shape]``.
        policy_info: Nest of arrays or tensors ``[..., *shape]``.
        reward: Nest of arrays or tensors ``[..., *shape]``.
        discount: Floats ``[...]``. The step types get the same shape.

    Returns:
        A trajectory of tensors if an argument holds a tensor, otherwise of arrays.
    """
    return _uniform(StepType.FIRST, StepType.MID, observation, action, policy_info, reward, discount)


def mid(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any) -> Trajectory:
    """Returns transitions from MID to MID; see :func:`first`."""
    return _uniform(StepType.MID, StepType.MID, observation, action, policy_info, reward, discount)


def last(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any) -> Trajectory:
    """Returns transitions from MID to LAST; see :func:`first`."""
    return _uniform(StepType.MID, StepType.LAST, observation, action, policy_info, reward, discount)


def single_step(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any) -> Trajectory:
    """Returns transitions from FIRST to LAST; see :func:`first`."""
    return _uniform(StepType.FIRST, StepType.LAST, observation, action, policy_info, reward, discount)


def boundary(observation: Any, action: Any, policy_info: Any, reward: Any, discount: Any) -> Trajectory:
    """Returns transitions from LAST to FIRST; see :func:`first`."""
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
    """Returns one whole episode. The step types are FIRST, MID, …; the last ``next_step_type`` is LAST.

    Args:
        observation: Nest of arrays or tensors ``[T, *shape]``.
        action: Nest of arrays or tensors ``[T, *shape]``.
        policy_info: Nest of arrays or tensors ``[T, *shape]``.
        reward: Nest of arrays or tensors ``[T, *shape]``.
        discount: Floats ``[T]``; None for 1 everywhere.

    Returns:
        A trajectory of tensors if an argument holds a tensor, otherwise of arrays.

    Raises:
        ValueError: If the discount is not ``[T]``, or another argument has a different number of steps.
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
        # The length of a tensor in a graph may be unknown.
        lengths = {None if not len(leaf.shape) else leaf.shape[0], discount.shape[0]}
        if not len(leaf.shape) or (len(lengths) > 1 and None not in lengths):
            raise ValueError(
                f"from_episode: {path[1:]} must have {discount.shape[0]} steps, but has shape {leaf.shape}"
            )


def from_transition(time_step: TimeStep, action_step: PolicyStep, next_time_step: TimeStep) -> Trajectory:
    """Returns a transition as a trajectory with the same outer dimensions.

    Args:
        time_step: The step in which the policy acted.
        action_step: The policy's step. Its state is not part of a trajectory.
        next_time_step: The next step, with the reward and discount.
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
