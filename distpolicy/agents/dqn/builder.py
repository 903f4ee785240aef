"""Builds DQN's agent from the settings."""

from __future__ import annotations

from distpolicy.agents.action_masks import seen_by_networks
from distpolicy.agents.adam import Adam
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.dqn.config import DQNConfig
from distpolicy.agents.dqn.dqn_agent import DdqnAgent, DqnAgent
from distpolicy.agents.network_builders import network_seed
from distpolicy.agents.q_network_builders import TD_LOSSES, q_network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: DQNConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> DqnAgent:
    """Builds the agent."""
    seen = seen_by_networks(specs, options.action_mask)
    network = q_network(seen.specs, networks, options.seed, config.dueling, noisy=config.exploration == "noisy")
    network.create_variables()
    optimizer = Adam(network.trainable_variables, 1e-8, config.max_gradient_norm, config.learning_rate)
    kind = DdqnAgent if config.double_q else DqnAgent
    return kind(
        specs.time_step,
        specs.action,
        network,
        optimizer,
        n_step_update=config.n_step,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        td_errors_loss_fn=TD_LOSSES[config.td_loss],
        gamma=config.discount,
        reward_scale_factor=config.reward_scale,
        epsilon_schedule=config.epsilon_schedule,
        epsilon_spread=config.epsilon_spread,
        noise_seed=network_seed(options.seed, 4),
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
        observation_and_action_constraint_splitter=seen.splitter,
    )
