"""Rollout: what one collector returns for one call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from distpolicy.trajectories.time_step import StepType
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.nests.array_nest import map_structure


class Rollout(NamedTuple):
    """T consecutive steps of B environment slots.

    The observation after the last step is included, so that its value can be bootstrapped from.

    Attributes:
        observation: Nest of ``[B, T + 1, *shape]``.
        step_type: int32 ``[B, T + 1]``.
        action: Nest of ``[B, T, *shape]`` as the policy chose it, before it was clipped to the environment's bounds.
        policy_info: Nest of ``[B, T, ...]``.
        reward: float32 ``[B, T]``, of the transition from t to t + 1.
        discount: float32 ``[B, T]``, of step t + 1.
        policy_state: Nest of ``[B, ...]``: the state before step 0.
        discounted_return: float64 ``[B]``: the running discounted sum of rewards before step 0, for
            reward normalisation.
        cuts: bool ``[B, T]``: where an episode was cut by a fault. Such a row is not a transition of the task: its
            reward is 0, its discount 1, and the observation after it is the one before it.
        weights_version: int64 ``[B, 2]``: (generation, version) of the policy that acted in each row.
        first_step: int64 ``[B, 2]``: (generation, number) of step 0. A collector of a higher generation has taken the
            slot over; the number counts the slot's steps since its collector began. So a rollout goes on from another
            one of the slot if it begins T steps later, in the same generation.
        first_slot: int64 scalar: number over the whole run of the slot in row 0.
    """

    observation: Any
    step_type: np.ndarray
    action: Any
    policy_info: Any
    reward: np.ndarray
    discount: np.ndarray
    policy_state: Any
    discounted_return: np.ndarray
    cuts: np.ndarray
    weights_version: np.ndarray
    first_step: np.ndarray
    first_slot: np.ndarray

    @property
    def trajectory(self) -> Trajectory:
        """The same as a :class:`Trajectory` of ``[B, T]`` views."""
        return Trajectory(
            step_type=self.step_type[:, :-1],
            observation=map_structure(lambda leaf: leaf[:, :-1], self.observation),
            action=self.action,
            policy_info=self.policy_info,
            next_step_type=self.step_type[:, 1:],
            reward=self.reward,
            discount=self.discount,
        )

    @property
    def final_observation(self) -> Any:
        """Nest of ``[B, *shape]``: the observation after the last step."""
        return map_structure(lambda leaf: leaf[:, -1], self.observation)

    @property
    def step_weights(self) -> np.ndarray:
        """float32 ``[B, T]``: 1 for each transition of the task; 0 from LAST to FIRST, and where a fault cut."""
        return ((self.step_type[:, :-1] != StepType.LAST) & ~self.cuts).astype(np.float32)

    @property
    def num_slots(self) -> int:
        """B."""
        return int(self.reward.shape[0])

    @property
    def num_steps(self) -> int:
        """T."""
        return int(self.reward.shape[1])


def zero_rollout(
    observation_spec: Any,
    action_spec: Any,
    info_spec: Any,
    num_slots: int,
    num_steps: int,
    first_slot: int = 0,
    policy_state_spec: Any = (),
) -> Rollout:
    """A rollout of zeros, to be filled, or to compile an update for.

    Args:
        observation_spec: Nest of specs of one observation.
        action_spec: Nest of specs of one action.
        info_spec: Nest of specs of the policy's info.
        num_slots: B.
        num_steps: T.
        first_slot: Number over the whole run of the slot in row 0.
        policy_state_spec: Nest of specs of the policy's state.
    """

    def zeros(spec: Any, steps: int = num_steps) -> np.ndarray:
        return np.zeros((num_slots, steps, *spec.shape), spec.dtype)

    return Rollout(
        observation=map_structure(lambda spec: zeros(spec, num_steps + 1), observation_spec),
        step_type=np.zeros((num_slots, num_steps + 1), np.int32),
        action=map_structure(zeros, action_spec),
        policy_info=map_structure(zeros, info_spec),
        reward=np.zeros((num_slots, num_steps), np.float32),
        discount=np.zeros((num_slots, num_steps), np.float32),
        policy_state=map_structure(lambda spec: np.zeros((num_slots, *spec.shape), spec.dtype), policy_state_spec),
        discounted_return=np.zeros(num_slots, np.float64),
        cuts=np.zeros((num_slots, num_steps), np.bool_),
        weights_version=np.zeros((num_slots, 2), np.int64),
        first_step=np.zeros((num_slots, 2), np.int64),
        first_slot=np.asarray(first_slot, np.int64),
    )
