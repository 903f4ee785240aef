"""Builds IMPALA's agent from the settings."""

from __future__ import annotations

from distpolicy.agents.actor_critic_builder import make_actor_critic_agent
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.impala.config import ImpalaConfig
from distpolicy.agents.impala.impala_agent import ImpalaAgent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: ImpalaConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> ImpalaAgent:
    """Builds the agent."""
    return make_actor_critic_agent(ImpalaAgent, config, specs, networks, options)
