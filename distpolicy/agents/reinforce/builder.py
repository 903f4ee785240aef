"""Builds REINFORCE's agent from the settings."""

from __future__ import annotations

from distpolicy.agents.action_masks import seen_by_networks
from distpolicy.agents.adam import Adam
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.network_builders import actor_networks
from distpolicy.agents.reinforce.config import ReinforceConfig
from distpolicy.agents.reinforce.reinforce_agent import ReinforceAgent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.tensor_spec import from_spec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: ReinforceConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> ReinforceAgent:
    """Builds the agent."""
    seen = seen_by_networks(specs, options.action_mask)
    observation = from_spec(seen.specs.time_step.observation)
    network = actor_networks(seen.specs, networks, options.seed).policy_network(observation)
    network.create_variables(observation)
    return ReinforceAgent(
        specs.time_step,
        specs.action,
        network,
        Adam(network.trainable_variables, 1e-7, config.max_gradient_norm, config.learning_rate),
        gamma=config.discount,
        entropy_regularization=config.entropy_weight,
        mean_over="steps",
        clip=False,
        jit_compile=options.jit_compile,
        observation_and_action_constraint_splitter=seen.splitter,
    )
