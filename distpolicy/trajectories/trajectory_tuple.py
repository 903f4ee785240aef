"""The tuple Trajectory, which :mod:`distpolicy.trajectories.trajectory` offers with its functions."""

from __future__ import annotations

from typing import Any, NamedTuple

from distpolicy.trajectories.time_step import StepType, equal


class Trajectory(NamedTuple):
    """Transitions, one or ``[B, T]`` of them.

    Attributes:
        step_type: int32 ``[...]`` of the step that was acted on.
        observation: Nest ``[..., *shape]`` of that step.
        action: Nest of what the policy chose.
        policy_info: Nest of the policy's info, such as the log-probability.
        next_step_type: int32 ``[...]`` of the step that followed.
        reward: float32 ``[...]`` of the transition.
        discount: float32 ``[...]`` of the step that followed.
    """

    step_type: Any
    observation: Any
    action: Any
    policy_info: Any
    next_step_type: Any
    reward: Any
    discount: Any

    def is_first(self) -> Any:
        """Where the transition begins an episode: bool ``[...]``."""
        return equal(self.step_type, StepType.FIRST)

    def is_mid(self) -> Any:
        """Where it neither begins nor ends an episode: bool ``[...]``."""
        return equal(self.step_type, StepType.MID) & equal(self.next_step_type, StepType.MID)

    def is_last(self) -> Any:
        """Where the transition ends an episode: bool ``[...]``."""
        return equal(self.next_step_type, StepType.LAST)

    def is_boundary(self) -> Any:
        """Where it leads from LAST to FIRST: no transition of the task, and masked out of every loss."""
        return equal(self.step_type, StepType.LAST)

    def replace(self, **changes: Any) -> Trajectory:
        """A copy with these fields changed."""
        return self._replace(**changes)
