"""Builds MARWIL's agent from the settings."""

from __future__ import annotations

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.marwil.config import MarwilConfig
from distpolicy.agents.marwil.marwil_agent import MarwilAgent
from distpolicy.agents.network_builders import actor_networks, value_network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: MarwilConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> MarwilAgent:
    """Builds the agent."""
    built = actor_networks(specs, networks, options.seed)
    return MarwilAgent(
        specs.time_step,
        specs.action,
        built.actor,
        value_network(built.input_spec, config.value_units, networks.activation, options.seed),
        config,
        encoding_network=built.encoding,
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
    )
