"""Rollout: what one collector returns for one call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from distpolicy.trajectories.trajectory import Trajectory


class Rollout(NamedTuple):
    """T consecutive steps of B environment slots.

    The observation after the last step is included, so that its value can be bootstrapped from.

    Attributes:
        observation: ``[B, T + 1, *shape]``.
        step_type: int32 ``[B, T + 1]``.
        action: ``[B, T, *shape]`` as the policy chose it, before it was clipped to the environment's bounds.
        policy_info: Nest of ``[B, T, ...]``.
        reward: float32 ``[B, T]``, of the transition from t to t + 1.
        discount: float32 ``[B, T]``, of step t + 1.
        policy_state: Nest of ``[B, ...]``: the state before step 0.
        discounted_return: float64 ``[B]``: the running discounted sum of rewards before step 0, for
            reward normalisation.
        weights_version: int64 ``[T, 2]``: (epoch, version) of the policy that chose each action.
        first_slot: int64 scalar: number over the whole run of the slot in row 0.
    """

    observation: np.ndarray
    step_type: np.ndarray
    action: np.ndarray
    policy_info: Any
    reward: np.ndarray
    discount: np.ndarray
    policy_state: Any
    discounted_return: np.ndarray
    weights_version: np.ndarray
    first_slot: np.ndarray

    @property
    def trajectory(self) -> Trajectory:
        """The same as a :class:`Trajectory` of ``[B, T]`` views."""
        return Trajectory(
            step_type=self.step_type[:, :-1],
            observation=self.observation[:, :-1],
            action=self.action,
            policy_info=self.policy_info,
            next_step_type=self.step_type[:, 1:],
            reward=self.reward,
            discount=self.discount,
        )

    @property
    def num_slots(self) -> int:
        """B."""
        return int(self.reward.shape[0])

    @property
    def num_steps(self) -> int:
        """T."""
        return int(self.reward.shape[1])
