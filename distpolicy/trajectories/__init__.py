"""Time steps, policy steps, trajectories and rollouts."""

from distpolicy.trajectories.policy_step import CommonFields, PolicyInfo, PolicyStep
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.trajectories.trajectory import Trajectory

__all__ = ["CommonFields", "PolicyInfo", "PolicyStep", "Rollout", "StepType", "TimeStep", "Trajectory"]
