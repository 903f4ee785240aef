"""Builds the agent of behavioural cloning from the settings."""

from __future__ import annotations

from distpolicy.agents.adam import Adam
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.behavioral_cloning.behavioral_cloning_agent import BehavioralCloningAgent
from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from distpolicy.agents.offline_networks import imitating_network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: BehavioralCloningConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> BehavioralCloningAgent:
    """Builds the agent."""
    network = imitating_network(specs, networks, options.seed)
    optimizer = Adam(network.trainable_variables, 1e-8, config.max_gradient_norm, config.learning_rate)
    return BehavioralCloningAgent(
        specs.time_step,
        specs.action,
        network,
        optimizer,
        name="bc_agent",
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
    )
