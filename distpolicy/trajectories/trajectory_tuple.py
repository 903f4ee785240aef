"""The tuple Trajectory. :mod:`distpolicy.trajectories.trajectory` exports it together with its functions."""

from __future__ import annotations

from typing import Any, NamedTuple

from distpolicy.trajectories.time_step import StepType, equal


class Trajectory(NamedTuple):
    """One transition, or ``[B, T]`` transitions.

    Attributes:
        step_type: Type of the step in which the policy acted, int32 ``[...]``.
        observation: Observation of this step, a nest of ``[..., *shape]``.
        action: The policy's action, a nest of ``[..., *shape]``.
        policy_info: The policy's info, such as the log-probability, a nest of ``[..., *shape]``.
        next_step_type: Type of the next step, int32 ``[...]``.
        reward: Reward of the transition, float32 ``[...]``.
        discount: Discount of the next step, float32 ``[...]``.
    """

    step_type: Any
    observation: Any
    action: Any
    policy_info: Any
    next_step_type: Any
    reward: Any
    discount: Any

    def is_first(self) -> Any:
        """Returns True where the transition begins an episode: bool ``[...]``."""
        return equal(self.step_type, StepType.FIRST)

    def is_mid(self) -> Any:
        """Returns True where the transition neither begins nor ends an episode: bool ``[...]``."""
        return equal(self.step_type, StepType.MID) & equal(self.next_step_type, StepType.MID)

    def is_last(self) -> Any:
        """Returns True where the transition ends an episode: bool ``[...]``."""
        return equal(self.next_step_type, StepType.LAST)

    def is_boundary(self) -> Any:
        """Returns True where the transition leads from LAST to FIRST: bool ``[...]``.

        Such a transition is not part of the task. Every loss masks it out.
        """
        return equal(self.step_type, StepType.LAST)

    def replace(self, **changes: Any) -> Trajectory:
        """Returns a copy with these fields changed."""
        return self._replace(**changes)
