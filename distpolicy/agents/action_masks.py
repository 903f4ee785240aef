"""Masks of actions that are a part of the observation. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from distpolicy.agents.action_kinds import IN_WORDS, fits
from distpolicy.errors import ConfigError
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.utils.nests.array_nest import flatten


@dataclass(frozen=True)
class ActionMaskSplitter:
    """Splits observations, which are dicts, into what networks read and the mask of actions.

    It is an ``observation_and_action_constraint_splitter``. A dict with a single entry beside the mask becomes that
    entry, so that networks are those of an environment without masks.

    Attributes:
        key: The mask's key.
    """

    key: str

    def __call__(self, observation: Mapping[str, Any]) -> tuple[Any, Any]:
        """Returns the rest of an observation, or of its specs, and the mask."""
        rest = {key: item for key, item in observation.items() if key != self.key}
        return (next(iter(rest.values())) if len(rest) == 1 else rest), observation[self.key]


class SeenByNetworks(NamedTuple):
    """What is left of an environment's specs for networks.

    Attributes:
        specs: Of the environment, without the mask.
        splitter: What takes the mask out of observations; None without a mask.
    """

    specs: EnvironmentSpecs
    splitter: ActionMaskSplitter | None


def seen_by_networks(specs: EnvironmentSpecs, action_mask: str | None) -> SeenByNetworks:
    """Returns the specs of what networks read.

    Args:
        specs: Of the environment.
        action_mask: Key of the entry of observations that says which actions are allowed; None if there is none.

    Raises:
        ConfigError: If observations have no such entry or nothing else, it is not a number for each action, or the
            action is not one discrete one.
    """
    if action_mask is None:
        return SeenByNetworks(specs, None)
    observation = specs.time_step.observation
    if not isinstance(observation, Mapping):
        raise ConfigError(f"action_mask {action_mask} is a key, but observations are not a dict: leave it out")
    if action_mask not in observation:
        raise ConfigError(f"action_mask {action_mask} is no key of the observations: take one of {_keys(observation)}")
    if len(observation) == 1:
        raise ConfigError(f"observations have nothing beside the action_mask {action_mask}: add what networks can read")
    if not fits("one discrete", specs.action):
        raise ConfigError(f"action_mask is for {IN_WORDS['one discrete']}, which this environment does not have")
    (action,) = flatten(specs.action)
    num_actions = int(np.max(action.maximum)) - int(np.min(action.minimum)) + 1
    mask = observation[action_mask]
    if not _is_for(mask, num_actions):
        raise ConfigError(
            f"action_mask {action_mask} must be a bool or number for each action, of shape [{num_actions}], but is "
            f"{_described(mask)}"
        )
    splitter = ActionMaskSplitter(action_mask)
    seen = specs.time_step._replace(observation=splitter(observation)[0])
    return SeenByNetworks(specs._replace(time_step=seen), splitter)


def _is_for(mask: Any, num_actions: int) -> bool:
    return isinstance(mask, ArraySpec) and mask.shape == (num_actions,) and np.dtype(mask.dtype).kind in "biuf"


def _described(mask: Any) -> str:
    if not isinstance(mask, ArraySpec):
        return f"a {type(mask).__name__}"
    return f"{np.dtype(mask.dtype).name}{list(mask.shape)}"


def _keys(observation: Mapping[str, Any]) -> str:
    return ", ".join(sorted(map(str, observation)))
