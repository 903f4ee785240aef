"""Builds PPO's agent from the settings."""

from __future__ import annotations

from distpolicy.agents.actor_critic_builder import make_actor_critic_agent
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.surrogate_agent import SurrogateAgent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: PPOConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> SurrogateAgent:
    """Builds the agent."""
    return make_actor_critic_agent(SurrogateAgent, config, specs, networks, options)
