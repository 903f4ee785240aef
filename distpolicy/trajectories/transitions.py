"""Transition: a time step, the policy's step and the next time step. Functions make them from trajectories.

Arrays lead to arrays, and tensors to tensors. TensorFlow is imported only for tensors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep, is_tensor
from distpolicy.trajectories.trajectory_tuple import Trajectory
from distpolicy.utils.nests.array_nest import flatten, map_structure


class Transition(NamedTuple):
    """One step of an environment.

    Attributes:
        time_step: The step in which the policy acted.
        action_step: The policy's step.
        next_time_step: The next step, with the reward and discount of the transition.
    """

    time_step: Any
    action_step: Any
    next_time_step: Any

    def replace(self, **changes: Any) -> Transition:
        """Returns a copy with these fields changed."""
        return self._replace(**changes)


def to_transition(trajectory: Trajectory, next_trajectory: Trajectory | None = None) -> Transition:
    """Returns the transitions between a trajectory's steps, or from one trajectory to the next.

    Args:
        trajectory: Arrays or tensors ``[B, T, ...]``; with ``next_trajectory`` also ``[B, ...]`` or ``[T, ...]``.
        next_trajectory: The next steps, of the same shape. None to take them from ``trajectory``, which then loses its
            last step.

    Returns:
        Transitions ``[B, T - 1, ...]``, or with ``next_trajectory`` of the trajectory's shape. The rewards and
        discounts in ``time_step`` are unknown and set to 0.

    Raises:
        ValueError: If the discount has the wrong number of dimensions.
    """
    rank = len(trajectory.discount.shape)
    if rank not in ((2,) if next_trajectory is None else (1, 2)):
        expected = "[B, T]" if next_trajectory is None else "[B], [T] or [B, T]"
        raise ValueError(f"the trajectory's discount must have shape {expected}, but has {trajectory.discount.shape}")
    if next_trajectory is None:
        next_observation = map_structure(lambda leaf: leaf[:, 1:], trajectory.observation)
        trajectory = map_structure(lambda leaf: leaf[:, :-1], trajectory)
    else:
        next_observation = next_trajectory.observation
    return Transition(
        TimeStep(
            trajectory.step_type,
            map_structure(lambda leaf: _full_like(leaf, 0.0), trajectory.reward),
            _full_like(trajectory.discount, 0.0),
            trajectory.observation,
        ),
        PolicyStep(trajectory.action, (), trajectory.policy_info),
        TimeStep(trajectory.next_step_type, trajectory.reward, trajectory.discount, next_observation),
    )


def to_transition_spec(trajectory_spec: Trajectory) -> Transition:
    """Returns the specs of :func:`to_transition`'s result, without policy state, since trajectories hold none."""
    spec = trajectory_spec
    return Transition(
        TimeStep(spec.step_type, spec.reward, spec.discount, spec.observation),
        PolicyStep(spec.action, (), spec.policy_info),
        TimeStep(spec.next_step_type, spec.reward, spec.discount, spec.observation),
    )


def experience_to_transitions(experience: Trajectory, squeeze_time_dim: bool) -> Transition:
    """Calls :func:`to_transition`, and removes the time dimension if ``squeeze_time_dim``.

    Args:
        experience: Arrays or tensors ``[B, T, ...]``.
        squeeze_time_dim: Whether to return transitions ``[B, ...]``. T must then be 2.

    Raises:
        ValueError: If ``squeeze_time_dim`` and T is not 2.
    """
    transitions = to_transition(experience)
    if not squeeze_time_dim:
        return transitions
    if experience.discount.shape[1] not in (2, None):
        raise ValueError(
            f"squeeze_time_dim needs trajectories of 2 steps, but they have {experience.discount.shape[1]}"
        )
    return map_structure(lambda leaf: leaf[:, 0], transitions)


def to_n_step_transition(trajectory: Trajectory, gamma: Any) -> Transition:
    """Returns one transition over up to N steps from a trajectory of N + 1 steps.

    It covers n steps: N, or fewer if the episode ends before. The reward is ``r_0 + g d_0 r_1 + g² d_0 d_1 r_2 + …``
    with n terms, and the discount is ``gⁿ⁻¹ d_0 … d_{n-1}``. If the episode was truncated, rewards after its end are
    left out, and the return is bootstrapped from its last observation.

    Args:
        trajectory: Arrays or tensors ``[B, T, ...]``, T = N + 1.
        gamma: The discount factor g, a float or a scalar tensor.

    Returns:
        A transition ``[B, ...]``, with the n-step reward and discount in ``next_time_step``. The reward and discount in
        ``time_step`` are unknown and set to NaN.

    Raises:
        ValueError: If the discount is not ``[B, T]``, or T is less than 2.
    """
    discount = trajectory.discount
    if len(discount.shape) != 2:
        raise ValueError(f"the trajectory's discount must have shape [B, T], but has {discount.shape}")
    if discount.shape[1] is not None and discount.shape[1] < 2:
        raise ValueError(f"the trajectory must have at least 2 steps, but has {discount.shape[1]}")
    discount = discount[:, :-1]
    gamma = _cast(gamma, discount)
    ends = (trajectory.step_type[:, :-1] == StepType.LAST) | (trajectory.next_step_type[:, :-1] == StepType.LAST)
    goes_on = _exclusive_cumprod(1 - _cast(ends, discount))
    num_steps = _sum(goes_on)
    # Values after the end must not count, even if they are NaN.
    discount = _where(goes_on > 0, discount, 1.0)
    share = _exclusive_cumprod(gamma * discount)

    def summed(reward: Any) -> Any:
        reward = reward[:, :-1]
        inner = (...,) + (None,) * (len(reward.shape) - 2)
        return _sum(_where(goes_on[inner] > 0, _cast(share[inner], reward) * reward, 0.0))

    first = map_structure(lambda leaf: leaf[:, 0], trajectory)
    reward = map_structure(summed, trajectory.reward)
    total_discount = _prod(discount) * gamma ** (num_steps - 1)
    return Transition(
        TimeStep(
            first.step_type,
            map_structure(lambda leaf: _full_like(leaf, np.nan), reward),
            _full_like(total_discount, np.nan),
            first.observation,
        ),
        PolicyStep(first.action, (), first.policy_info),
        TimeStep(
            _at(trajectory.next_step_type, num_steps - 1),
            reward,
            total_discount,
            map_structure(lambda leaf: _at(leaf, num_steps), trajectory.observation),
        ),
    )


def _full_like(value: Any, fill: float) -> Any:
    if is_tensor(value):
        import tensorflow as tf

        return tf.fill(tf.shape(value), tf.cast(fill, value.dtype))
    return np.full_like(value, fill)


def _cast(value: Any, like: Any) -> Any:
    if is_tensor(like) or is_tensor(value):
        import tensorflow as tf

        return tf.cast(value, like.dtype)
    return np.asarray(value, like.dtype)


def _where(condition: Any, value: Any, otherwise: float) -> Any:
    if is_tensor(value):
        import tensorflow as tf

        return tf.where(condition, value, tf.cast(otherwise, value.dtype))
    return np.where(condition, value, np.asarray(otherwise, value.dtype))


def _exclusive_cumprod(values: Any) -> Any:
    """Returns the product of all entries before each entry, ``[B, N]``; the first is 1."""
    if is_tensor(values):
        import tensorflow as tf

        return tf.math.cumprod(values, axis=1, exclusive=True)
    return np.cumprod(np.concatenate([np.ones_like(values[:, :1]), values[:, :-1]], axis=1), axis=1)


def _sum(values: Any) -> Any:
    if is_tensor(values):
        import tensorflow as tf

        return tf.reduce_sum(values, axis=1)
    return np.sum(values, axis=1)


def _prod(values: Any) -> Any:
    if is_tensor(values):
        import tensorflow as tf

        return tf.reduce_prod(values, axis=1)
    return np.prod(values, axis=1)


def _at(values: Any, index: Any) -> Any:
    """Returns the entry of each row of ``[B, T, ...]`` at the row's index: ``[B, ...]``."""
    if is_tensor(values):
        import tensorflow as tf

        return tf.gather(values, tf.cast(index, tf.int32), axis=1, batch_dims=1)
    return values[np.arange(len(values)), np.asarray(index).astype(np.int64)]


def has_tensors(nest: Any) -> bool:
    """Returns True if any leaf is a tensor. Does not import TensorFlow."""
    return any(is_tensor(leaf) for leaf in flatten(nest))
