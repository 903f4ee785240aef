"""Functions on environments."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.environments.tf_environment import TFEnvironment
from distpolicy.environments.tf_py_environment import TFPyEnvironment
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.policies.random_py_policy import RandomPyPolicy
from distpolicy.specs import array_spec
from distpolicy.trajectories.time_step import TimeStep


def get_tf_env(environment: PyEnvironment | TFEnvironment) -> TFEnvironment:
    """Returns a TFEnvironment as it is, and a PyEnvironment wrapped.

    Raises:
        ValueError: If ``environment`` is neither.
    """
    if isinstance(environment, TFEnvironment):
        return environment
    if isinstance(environment, PyEnvironment):
        return TFPyEnvironment(environment)
    raise ConfigError(f"environment must be a TFEnvironment or a PyEnvironment, not {environment!r}")


def validate_py_environment(
    environment: PyEnvironment,
    episodes: int = 5,
    observation_and_action_constraint_splitter: Any = None,
) -> None:
    """Runs random episodes, and checks that the environment's time steps match its specs.

    Args:
        environment: The environment.
        episodes: Number of episodes.
        observation_and_action_constraint_splitter: Function from an observation to the policy's input and a mask of
            actions; None for no masks.

    Raises:
        ValueError: If a time step does not match, or ``reset`` returns another step than FIRST.
    """
    spec = environment.time_step_spec()
    policy = RandomPyPolicy(
        spec,
        environment.action_spec(),
        observation_and_action_constraint_splitter=observation_and_action_constraint_splitter,
    )
    if environment.batched:
        spec = array_spec.add_outer_dims_nest(spec, (environment.batch_size,))

    def checked(time_step: TimeStep) -> TimeStep:
        if not array_spec.check_arrays_nest(time_step, spec):
            raise SpecMismatchError(f"the time step {time_step!r} does not match its spec {spec!r}")
        return time_step

    def first_step() -> TimeStep:
        time_step = checked(environment.reset())
        if not np.all(time_step.is_first()):
            raise SpecMismatchError(f"reset() must return a FIRST time step, but returned {time_step!r}")
        return time_step

    num_episodes, time_step = 0, first_step()
    while num_episodes < episodes:
        time_step = checked(environment.step(policy.action(time_step).action))
        num_episodes += int(np.sum(time_step.is_last()))
        if np.all(time_step.is_last()):
            time_step = first_step()
