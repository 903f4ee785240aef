"""Builds CQL's agent from the settings."""

from __future__ import annotations

import dataclasses

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.cql.config import CQLConfig
from distpolicy.agents.cql.cql_dqn_agent import CqlDqnAgent
from distpolicy.agents.flat_adam import FlatAdam
from distpolicy.agents.q_network_builders import q_network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: CQLConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> CqlDqnAgent:
    """Builds the agent."""
    network = q_network(specs, dataclasses.replace(networks, actor_units=config.critic_units), options.seed)
    network.create_variables()
    return CqlDqnAgent(
        specs.time_step,
        specs.action,
        network,
        FlatAdam(network.trainable_variables, 1e-8, config.max_gradient_norm, config.learning_rate),
        cql_alpha=config.cql_alpha,
        epsilon_greedy=None,
        n_step_update=config.n_step,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        gamma=config.discount,
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
        name="cql_agent",
    )
