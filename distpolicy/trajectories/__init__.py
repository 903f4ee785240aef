"""Time steps, policy steps, trajectories, transitions and rollouts."""

from distpolicy.trajectories.policy_step import CommonFields, PolicyInfo, PolicyStep
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import (
    StepType,
    TimeStep,
    restart,
    termination,
    time_step_spec,
    transition,
    truncation,
)
from distpolicy.trajectories.trajectory import (
    Trajectory,
    boundary,
    first,
    from_episode,
    from_transition,
    last,
    mid,
    single_step,
)
from distpolicy.trajectories.transitions import (
    Transition,
    experience_to_transitions,
    to_n_step_transition,
    to_transition,
    to_transition_spec,
)

__all__ = [
    "CommonFields",
    "PolicyInfo",
    "PolicyStep",
    "Rollout",
    "StepType",
    "TimeStep",
    "Trajectory",
    "Transition",
    "boundary",
    "experience_to_transitions",
    "first",
    "from_episode",
    "from_transition",
    "last",
    "mid",
    "restart",
    "single_step",
    "termination",
    "time_step_spec",
    "to_n_step_transition",
    "to_transition",
    "to_transition_spec",
    "transition",
    "truncation",
]
