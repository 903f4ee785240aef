"""Builds actor-critic agents from the settings."""

from __future__ import annotations

from typing import Any, TypeVar

from distpolicy.agents.action_masks import seen_by_networks
from distpolicy.agents.actor_critic_agent import ActorCriticAgent
from distpolicy.agents.actor_critic_config import ActorCriticConfig
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.network_builders import actor_networks, value_network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs

Agent = TypeVar("Agent", bound=ActorCriticAgent[Any])


def make_actor_critic_agent(
    kind: type[Agent],
    config: ActorCriticConfig,
    specs: EnvironmentSpecs,
    networks: NetworkConfig,
    options: LearnerOptions,
    **arguments: Any,
) -> Agent:
    """Builds an agent.

    Args:
        kind: Its class.
        config: The algorithm's settings.
        specs: Of the environment.
        networks: The settings of the networks.
        options: The settings of the learner.
        arguments: Further arguments of the class.
    """
    seen = seen_by_networks(specs, options.action_mask)
    built = actor_networks(seen.specs, networks, options.seed)
    return kind(
        specs.time_step,
        specs.action,
        built.actor,
        value_network(built.input_spec, config.value_units, networks.activation, options.seed),
        config,
        seed=options.seed,
        jit_compile=options.jit_compile,
        encoding_network=built.encoding,
        replicas=options.replicas,
        mixed_precision=options.mixed_precision,
        observation_and_action_constraint_splitter=seen.splitter,
        **arguments,
    )
