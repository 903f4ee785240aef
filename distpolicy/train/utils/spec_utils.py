"""Specs of tensors for an environment of arrays."""

from __future__ import annotations

from typing import Any

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory


def get_tensor_specs(env: PyEnvironment) -> tuple[Any, Any, TimeStep]:
    """Returns the tensor specs of one observation, of one action and of one time step."""
    time_step_spec = tensor_spec.from_spec(env.time_step_spec())
    return time_step_spec.observation, tensor_spec.from_spec(env.action_spec()), time_step_spec


def get_collect_data_spec_from_policy_and_env(env: PyEnvironment, policy: Any) -> Trajectory:
    """Returns the tensor specs of one step of what a policy experiences in an environment."""
    observation, action, step = get_tensor_specs(env)
    info = tensor_spec.from_spec(policy.info_spec)
    return Trajectory(step.step_type, observation, action, info, step.step_type, step.reward, step.discount)
