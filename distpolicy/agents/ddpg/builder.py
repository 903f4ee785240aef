"""Builds DDPG's agent from the settings."""

from __future__ import annotations

import tensorflow as tf

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.ddpg.config import DDPGConfig
from distpolicy.agents.ddpg.ddpg_agent import DdpgAgent
from distpolicy.agents.off_policy_actor_critic_builder import (
    actor_and_critics,
    deterministic_actor,
    half_width_of,
)
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: DDPGConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> DdpgAgent:
    """Builds the agent."""
    half_width = half_width_of(specs.action)
    make_actor = deterministic_actor(specs.action, networks)
    built = actor_and_critics(config, specs, networks, options.seed, make_actor, num_critics=1)
    return DdpgAgent(
        specs.time_step,
        specs.action,
        built.actor,
        built.critic,
        built.actor_optimizer,
        built.critic_optimizer,
        ou_stddev=config.ou_stddev * half_width,
        ou_damping=config.ou_damping,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        td_errors_loss_fn=tf.math.squared_difference,
        gamma=config.discount,
        reward_scale_factor=config.reward_scale,
        n_step_update=config.n_step,
        name="ddpg_agent",
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
    )
