"""probe: an environment's specs, checked before anything is started."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.trajectories.time_step import TimeStep
from workers.environment import Environment
from workers.environment_factory import EnvironmentFactory


def check_supported(environment: Environment) -> None:
    """Refuses what training's networks cannot take yet; collecting takes every space.

    Raises:
        ConfigError: If the observation is not one Box, or the action neither a scalar Discrete nor a Box.
    """
    observation_space, action_space = environment.observation_space, environment.action_space
    if not isinstance(observation_space, gym.spaces.Box):
        raise ConfigError(
            f"env {environment.name} has observations {observation_space}; only Box observations are supported: "
            "flatten them with gymnasium.wrappers.FlattenObservation"
        )
    if not isinstance(action_space, gym.spaces.Discrete | gym.spaces.Box):
        raise ConfigError(
            f"env {environment.name} has actions {action_space}; only Discrete and Box actions are supported"
        )


def probe(factory: EnvironmentFactory, for_training: bool = True) -> tuple[TimeStep, Any]:
    """The time-step spec and action spec of an environment.

    Args:
        factory: Makes it.
        for_training: Whether its spaces have to be those that :func:`check_supported` lets pass.

    Raises:
        ConfigError: If the environment cannot be made or its spaces are not supported.
    """
    try:
        environment = factory(1)
    except SpecMismatchError as error:
        raise ConfigError(f"env {factory.env_id}: {error}") from error
    try:
        if for_training:
            check_supported(environment)
        return environment.time_step_spec, environment.action_spec
    finally:
        environment.close()
