"""Builds IQL's agent from the settings."""

from __future__ import annotations

from typing import Any

from distpolicy.agents.adam import Adam
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.iql.config import IqlConfig
from distpolicy.agents.iql.iql_agent import IqlAgent
from distpolicy.agents.network_builders import network_seed
from distpolicy.agents.offline_networks import imitating_network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.observation_encoding import preprocessing_for
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: IqlConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> IqlAgent:
    """Builds the agent."""
    observation, seed = specs.time_step.observation, options.seed
    actor = imitating_network(specs, networks, seed)
    value = _value_network(observation, config, networks, network_seed(seed, 4))
    critics = [
        _value_network((observation, specs.action), config, networks, network_seed(seed, index)) for index in (5, 6)
    ]

    def adam(*trained: Any) -> Adam:
        variables = [variable for network in trained for variable in network.trainable_variables]
        return Adam(variables, 1e-8, config.max_gradient_norm, config.learning_rate)

    return IqlAgent(
        specs.time_step,
        specs.action,
        critics[0],
        value,
        actor,
        actor_optimizer=adam(actor),
        critic_optimizer=adam(*critics),
        value_optimizer=adam(value),
        critic_network_2=critics[1],
        expectile=config.expectile,
        beta=config.beta,
        max_weight=config.max_weight,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        gamma=config.discount,
        reward_scale_factor=config.reward_scale,
        n_step_update=config.n_step,
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
        name="iql_agent",
    )


def _value_network(input_spec: Any, config: IqlConfig, networks: NetworkConfig, seed: int) -> ValueNetwork:
    """Builds a critic of observations, or of pairs of observations and actions, of any nest."""
    layers, combiner = preprocessing_for(input_spec, conv_layer_params=networks.conv_layers, seed=seed)
    network = ValueNetwork(
        input_spec,
        preprocessing_layers=layers,
        preprocessing_combiner=combiner,
        fc_layer_params=(*networks.encoder_units, *config.critic_units),
        activation_fn=networks.activation,
        seed=seed + 16,
    )
    network.create_variables()
    return network
