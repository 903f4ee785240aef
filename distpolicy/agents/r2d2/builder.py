"""Builds R2D2's agent from the settings."""

from __future__ import annotations

from distpolicy.agents.action_masks import seen_by_networks
from distpolicy.agents.adam import Adam
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.q_network_builders import TD_LOSSES, encoder_arguments
from distpolicy.agents.r2d2.config import R2D2Config
from distpolicy.agents.r2d2.r2d2_agent import R2d2Agent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.q_rnn_network import QRnnNetwork
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: R2D2Config, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> R2d2Agent:
    """Builds the agent."""
    seen = seen_by_networks(specs, options.action_mask)
    observation = seen.specs.time_step.observation
    network = QRnnNetwork(
        observation,
        specs.action,
        input_fc_layer_params=networks.encoder_units or None,
        lstm_size=networks.recurrent_units,
        output_fc_layer_params=networks.actor_units or None,
        cell=networks.recurrent,
        **encoder_arguments(observation, networks, options.seed),
    )
    network.create_variables()
    return R2d2Agent(
        specs.time_step,
        specs.action,
        network,
        Adam(network.trainable_variables, 1e-8, config.max_gradient_norm, config.learning_rate),
        n_step_update=config.n_step,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        td_errors_loss_fn=TD_LOSSES[config.td_loss],
        gamma=config.discount,
        reward_scale_factor=config.reward_scale,
        epsilon_schedule=config.epsilon_schedule,
        epsilon_spread=config.epsilon_spread,
        sequence_length=config.sequence_length,
        burn_in=config.burn_in,
        value_rescaling=config.value_rescaling,
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
        observation_and_action_constraint_splitter=seen.splitter,
    )
