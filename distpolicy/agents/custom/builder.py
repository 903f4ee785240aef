"""Builds an agent of the user's own by the function that the settings name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from distpolicy.agents.action_masks import seen_by_networks
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.utils.named_code import import_named, why_unfit

_SPLITTER = "observation_and_action_constraint_splitter"


def make_agent(
    config: CustomAgentConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> TFAgent:
    """Calls the function that makes the agent.

    Raises:
        ConfigError: If it cannot be found, does not return a TFAgent, ignores the options although there is mixed
            precision, or takes no mask although there is one.
    """
    function = _function(config)
    splitter = seen_by_networks(specs, options.action_mask).splitter
    known = {"networks": networks, "seed": options.seed, "options": options, _SPLITTER: splitter}
    parameters = inspect.signature(function).parameters
    if options.mixed_precision and "options" not in parameters:
        raise ConfigError(
            f"mixed_precision would change nothing, since {config.name} has no parameter options: leave it out, or "
            "give it one, and pass options.mixed_precision to the agent"
        )
    if splitter is not None and _SPLITTER not in parameters:
        raise ConfigError(f"action_mask is not for {config.name}: give that function an argument {_SPLITTER}")
    asked = {key: value for key, value in known.items() if key in parameters}
    agent = function(specs.time_step, specs.action, **asked, **config.kwargs)
    if not isinstance(agent, TFAgent):
        raise ConfigError(f"{config.name} returned {type(agent).__name__}; return a distpolicy.agents.tf_agent.TFAgent")
    return agent


def _function(config: CustomAgentConfig) -> Callable[..., Any]:
    if not isinstance(config.factory, str):
        return config.factory
    module, _, name = config.factory.partition(":")
    try:
        found = getattr(import_named(module, config.folder), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cannot import agent {config.factory}: {error}; also looked in {config.folder}") from error
    if reason := why_unfit(found, (TFAgent,)):
        raise ConfigError(f"agent {config.factory} {reason}; give a function that makes a TFAgent")
    return found
