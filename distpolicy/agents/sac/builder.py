"""Builds soft actor-critic's agent from the settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.flat_adam import FlatAdam
from distpolicy.agents.network_builders import network_seed, observation_encoder
from distpolicy.agents.sac.config import SACConfig
from distpolicy.agents.sac.sac_agent import SacAgent
from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.agents.twin_critic_network import TwinCriticNetwork
from distpolicy.distributions.utils import action_scale
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.sequential import Sequential
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs

# Bounds of the logarithm of the actor's deviation.
_LOG_STD = (-20.0, 2.0)
_ADAM_EPSILON = 1e-8


def make_agent(
    config: SACConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> SacAgent:
    """Builds the agent."""
    action_spec = tensor_spec.from_spec(specs.action)
    critic = TwinCriticNetwork(
        (specs.time_step.observation, action_spec),
        config.critic_units,
        networks.activation,
        observation_encoder(specs.time_step.observation, networks, options.seed),
        seed=network_seed(options.seed, 1),
    )
    critic.create_variables()
    actor = _actor_network(specs, networks, options.seed, critic.encoder)
    shared = set() if critic.encoder is None else {id(variable) for variable in critic.encoder.variables}
    actor_variables = [variable for variable in actor.trainable_variables if id(variable) not in shared]

    def adam(variables: Any, learning_rate: float | None) -> FlatAdam:
        return FlatAdam(variables, _ADAM_EPSILON, None, learning_rate or config.learning_rate)

    return SacAgent(
        specs.time_step,
        action_spec,
        critic,
        actor,
        actor_optimizer=adam(actor_variables, config.actor_learning_rate),
        critic_optimizer=adam(critic.trainable_variables, None),
        alpha_optimizer=adam([tf.zeros(())], config.alpha_learning_rate) if config.learn_alpha else None,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        gamma=config.discount,
        initial_log_alpha=math.log(config.initial_alpha),
        target_entropy=_target_entropy(config, action_spec),
        n_step_update=config.n_step,
        name="sac_agent",
        jit_compile=options.jit_compile,
    )


def _actor_network(specs: EnvironmentSpecs, networks: NetworkConfig, seed: int, encoder: Network | None) -> Network:
    input_spec = specs.time_step.observation if encoder is None else encoder.create_variables()
    actor = ActorDistributionNetwork(
        input_spec,
        specs.action,
        fc_layer_params=networks.actor_units,
        activation_fn=networks.activation,
        seed=network_seed(seed, 0),
        continuous_projection_net=lambda spec, seed: TanhNormalProjectionNetwork(
            spec, std_transform=lambda log_std: tf.exp(tf.clip_by_value(log_std, *_LOG_STD)), seed=seed
        ),
    )
    network = actor if encoder is None else Sequential([encoder, actor], specs.time_step.observation, "PolicyNetwork")
    network.create_variables()
    return network


def _target_entropy(config: SACConfig, action_spec: Any) -> float:
    """Returns the target entropy in the units of the actions."""
    scales = [action_scale(spec)[1].numpy() for spec in tf.nest.flatten(action_spec)]
    target = -sum(np.size(scale) for scale in scales) if config.target_entropy is None else config.target_entropy
    return float(target + sum(np.sum(np.log(scale)) for scale in scales))
