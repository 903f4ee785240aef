"""Builds APPO's agent from the settings."""

from __future__ import annotations

from distpolicy.agents.actor_critic_builder import make_actor_critic_agent
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.appo.appo_agent import APPOAgent
from distpolicy.agents.appo.config import APPOConfig
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: APPOConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> APPOAgent:
    """Builds the agent."""
    return make_actor_critic_agent(APPOAgent, config, specs, networks, options)
