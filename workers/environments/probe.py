"""probe: an environment's specs, checked before anything is started."""

from __future__ import annotations

import numpy as np

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.utils.nests.array_nest import flatten, paths
from workers.environments.base import Environment
from workers.environments.factory import EnvironmentFactory

# The network has an output for each.
MAX_ACTION_VALUES = 10_000


def check_supported(environment: Environment) -> None:
    """Refuses what training's networks cannot take; collecting takes every space.

    Raises:
        ConfigError: If an observation has no leaf, or an action is of bools or of too many integers; names the leaf.
    """
    if not flatten(environment.time_step_spec.observation):
        raise ConfigError(f"env {environment.name} has observations {environment.observation_space} without any leaf")
    for path, spec in zip(paths(environment.action_spec), flatten(environment.action_spec), strict=True):
        name = f"env {environment.name} has action{path}"
        if spec.dtype.kind == "b":
            raise ConfigError(f"{name} of bools; declare it as MultiBinary")
        if spec.dtype.kind in "iu":
            num_values = max(int(high) - int(low) + 1 for low, high in np.nditer([spec.minimum, spec.maximum]))
            if num_values > MAX_ACTION_VALUES:
                raise ConfigError(
                    f"{name} of {num_values:,} integers; training takes {MAX_ACTION_VALUES:,}: give it closer bounds"
                )


def probe(factory: EnvironmentFactory, for_training: bool = True) -> EnvironmentSpecs:
    """Returns the specs of an environment.

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
        return EnvironmentSpecs(environment.time_step_spec, environment.action_spec)
    finally:
        environment.close()
