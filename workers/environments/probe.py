"""probe: reads and checks an environment's specs before anything is started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.utils.nests.array_nest import flatten, paths
from workers.environments.base import Environment
from workers.environments.factory import EnvironmentFactory

# A network for discrete actions has one output for each value.
MAX_ACTION_VALUES = 10_000


def check_supported(environment: Environment) -> None:
    """Checks that networks can be trained on an environment's spaces. Collecting supports every space.

    Raises:
        ConfigError: If the observation or the action has no leaf, a leaf is of a dtype that TensorFlow lacks, or an
            action leaf is empty, is bool, or has too many integer values; names the leaf.
    """
    for what, nest, space in (
        ("observation", environment.time_step_spec.observation, environment.observation_space),
        ("action", environment.action_spec, environment.action_space),
    ):
        if not flatten(nest):
            raise ConfigError(
                f"env {environment.name} has an empty {what}_space, {space}; training needs an array at least"
            )
        for path, spec in zip(paths(nest), flatten(nest), strict=True):
            _check_width(spec, f"env {environment.name} has {what}{path}")
    _check_actions(environment.action_spec, f"env {environment.name}")


def check_trainable(specs: EnvironmentSpecs, whose: str) -> None:
    """Checks that networks can be trained on steps with these specs, as :func:`check_supported` does.

    Args:
        specs: The specs.
        whose: What they are of, for the message.

    Raises:
        ConfigError: If they cannot; names the leaf.
    """
    for what, nest in (("observation", specs.time_step.observation), ("action", specs.action)):
        for path, spec in zip(paths(nest), flatten(nest), strict=True):
            _check_width(spec, f"{whose} has {what}{path}")
    _check_actions(specs.action, whose)


def _check_width(spec: Any, name: str) -> None:
    if spec.dtype.itemsize > 8:
        raise ConfigError(f"{name} of dtype {spec.dtype}; training supports numbers of up to 64 bits")


def _check_actions(action_spec: Any, whose: str) -> None:
    for path, spec in zip(paths(action_spec), flatten(action_spec), strict=True):
        name = f"{whose} has action{path}"
        if 0 in spec.shape:
            raise ConfigError(f"{name} of shape {spec.shape}, without an element; leave it out")
        if spec.dtype.kind == "b":
            raise ConfigError(f"{name} of dtype bool; declare it as MultiBinary")
        if spec.dtype.kind in "iu":
            num_values = max(int(high) - int(low) + 1 for low, high in np.nditer([spec.minimum, spec.maximum]))
            if num_values > MAX_ACTION_VALUES:
                raise ConfigError(
                    f"{name} with {num_values:,} integer values; training supports up to {MAX_ACTION_VALUES:,}: "
                    "narrow its bounds"
                )


def probe(factory: EnvironmentFactory, for_training: bool = True) -> EnvironmentSpecs:
    """Returns the specs of an environment.

    Args:
        factory: Makes the environment.
        for_training: Whether to call :func:`check_supported`, too.

    Raises:
        ConfigError: If the environment cannot be made, or its spaces are not supported.
        EnvironmentCrashedError: If its constructor or ``close`` hangs.
    """
    with _working_directory_kept():
        try:
            environment = factory(1)
        except SpecMismatchError as error:
            raise ConfigError(f"env {factory.env_id}: {error}") from error
        try:
            if for_training:
                check_supported(environment)
            elif not flatten(environment.action_spec):
                raise ConfigError(f"env {environment.name} has an empty action_space, {environment.action_space}")
            return EnvironmentSpecs(environment.time_step_spec, environment.action_spec)
        finally:
            environment.close()


@contextlib.contextmanager
def _working_directory_kept() -> Iterator[None]:
    """Goes back to the working directory at the end: some environments change it, and relative paths begin there."""
    folder = os.getcwd()
    try:
        yield
    finally:
        os.chdir(folder)
