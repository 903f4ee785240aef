"""Builds C51's agent from the settings."""

from __future__ import annotations

from distpolicy.agents.action_masks import seen_by_networks
from distpolicy.agents.adam import Adam
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.categorical_dqn.categorical_dqn_agent import CategoricalDqnAgent
from distpolicy.agents.categorical_dqn.config import C51Config
from distpolicy.agents.q_network_builders import encoder_arguments
from distpolicy.networks.categorical_q_network import CategoricalQNetwork
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: C51Config, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> CategoricalDqnAgent:
    """Builds the agent."""
    seen = seen_by_networks(specs, options.action_mask)
    observation = seen.specs.time_step.observation
    network = CategoricalQNetwork(
        observation,
        specs.action,
        num_atoms=config.num_atoms,
        fc_layer_params=(*networks.encoder_units, *networks.actor_units),
        **encoder_arguments(observation, networks, options.seed),
    )
    network.create_variables()
    return CategoricalDqnAgent(
        specs.time_step,
        specs.action,
        network,
        # Bellemare et al. divide 0.01 by the batch size; a small epsilon lets rare atoms take steps of full size.
        Adam(network.trainable_variables, 0.01 / config.batch_size, config.max_gradient_norm, config.learning_rate),
        min_q_value=config.min_q_value,
        max_q_value=config.max_q_value,
        n_step_update=config.n_step,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        gamma=config.discount,
        reward_scale_factor=config.reward_scale,
        epsilon_schedule=config.epsilon_schedule,
        epsilon_spread=config.epsilon_spread,
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
        observation_and_action_constraint_splitter=seen.splitter,
    )
