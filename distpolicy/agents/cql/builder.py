"""Builds CQL's agent from the settings."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from distpolicy.agents.adam import Adam
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.cql.config import CQLConfig
from distpolicy.agents.cql.cql_dqn_agent import CqlDqnAgent
from distpolicy.agents.cql.cql_sac_agent import CqlSacAgent
from distpolicy.agents.q_network_builders import q_network
from distpolicy.agents.sac import builder as sac_builder
from distpolicy.agents.sac.config import SACConfig
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.policies.q_policy import check_scalar_action
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(config: CQLConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions) -> TFAgent:
    """Builds the agent: a CqlSacAgent for actions of floats, a CqlDqnAgent for one discrete action.

    Raises:
        ConfigError: If the actions are neither.
    """
    action_spec = tensor_spec.from_spec(specs.action)
    if all(tensor_spec.is_continuous(spec) for spec in tf.nest.flatten(action_spec)):
        return _sac(config, specs, networks, options)
    check_scalar_action(action_spec, "cql, with a discrete action,")
    network = q_network(specs, dataclasses.replace(networks, actor_units=config.critic_units), options.seed)
    network.create_variables()
    return CqlDqnAgent(
        specs.time_step,
        action_spec,
        network,
        Adam(network.trainable_variables, 1e-8, config.max_gradient_norm, config.learning_rate),
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


def _sac(config: CQLConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions) -> TFAgent:
    soft = SACConfig(
        learning_rate=config.learning_rate,
        discount=config.discount,
        n_step=config.n_step,
        target_update_period=config.target_update_period,
        target_update_tau=config.target_update_tau,
        critic_units=config.critic_units,
        actor_learning_rate=config.actor_learning_rate,
        alpha_learning_rate=config.actor_learning_rate,
    )
    return sac_builder.make_agent(
        soft,
        specs,
        networks,
        options,
        CqlSacAgent,
        cql_alpha=config.cql_alpha,
        num_cql_samples=config.num_cql_samples,
        include_critic_entropy_term=False,
        use_lagrange_cql_alpha=config.learn_cql_alpha,
        cql_tau=config.cql_tau,
        num_bc_steps=config.num_bc_steps,
        gradient_clipping=config.max_gradient_norm,
        name="cql_agent",
    )
