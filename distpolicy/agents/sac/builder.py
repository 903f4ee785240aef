"""Builds soft actor-critic's agent from the settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.off_policy_actor_critic_builder import actor_and_critics, adam
from distpolicy.agents.sac.config import SACConfig
from distpolicy.agents.sac.sac_agent import SacAgent
from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.distributions.utils import action_scale
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs

# Bounds of the logarithm of the actor's deviation.
_LOG_STD = (-20.0, 2.0)


def make_agent(
    config: SACConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> SacAgent:
    """Builds the agent."""
    action_spec = tensor_spec.from_spec(specs.action)

    def make_actor(input_spec: Any, seed: int) -> Network:
        return ActorDistributionNetwork(
            input_spec,
            action_spec,
            fc_layer_params=networks.actor_units,
            activation_fn=networks.activation,
            seed=seed,
            continuous_projection_net=_projection,
        )

    built = actor_and_critics(config, specs, networks, options.seed, make_actor)
    alpha_rate = config.alpha_learning_rate or config.learning_rate
    return SacAgent(
        specs.time_step,
        action_spec,
        built.critic,
        built.actor,
        built.actor_optimizer,
        built.critic_optimizer,
        alpha_optimizer=adam([tf.zeros(())], alpha_rate) if config.learn_alpha else None,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        gamma=config.discount,
        initial_log_alpha=math.log(config.initial_alpha),
        target_entropy=_target_entropy(config, action_spec),
        n_step_update=config.n_step,
        name="sac_agent",
        jit_compile=options.jit_compile,
    )


def _projection(spec: Any, seed: int) -> TanhNormalProjectionNetwork:
    return TanhNormalProjectionNetwork(
        spec, std_transform=lambda log_std: tf.exp(tf.clip_by_value(log_std, *_LOG_STD)), seed=seed
    )


def _target_entropy(config: SACConfig, action_spec: Any) -> float:
    """Returns the target entropy in the units of the actions."""
    scales = [action_scale(spec)[1].numpy() for spec in tf.nest.flatten(action_spec)]
    target = -sum(np.size(scale) for scale in scales) if config.target_entropy is None else config.target_entropy
    return float(target + sum(np.sum(np.log(scale)) for scale in scales))
