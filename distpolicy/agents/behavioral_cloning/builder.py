"""Builds the agent of behavioural cloning from the settings."""

from __future__ import annotations

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.behavioral_cloning.behavioral_cloning_agent import BehavioralCloningAgent
from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from distpolicy.agents.flat_adam import FlatAdam
from distpolicy.agents.network_builders import actor_networks
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: BehavioralCloningConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> BehavioralCloningAgent:
    """Builds the agent."""
    network = actor_networks(specs, networks, options.seed).policy_network(specs.time_step.observation)
    network.create_variables(specs.time_step.observation)
    optimizer = FlatAdam(network.trainable_variables, 1e-8, config.max_gradient_norm, config.learning_rate)
    return BehavioralCloningAgent(
        specs.time_step, specs.action, network, optimizer, jit_compile=options.jit_compile, name="bc_agent"
    )
