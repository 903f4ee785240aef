"""Builds TD3's agent from the settings."""

from __future__ import annotations

import tensorflow as tf

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.off_policy_actor_critic_builder import (
    actor_and_critics,
    deterministic_actor,
    half_width_of,
)
from distpolicy.agents.td3.config import TD3Config
from distpolicy.agents.td3.td3_agent import Td3Agent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: TD3Config, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> Td3Agent:
    """Builds the agent."""
    half_width = half_width_of(specs.action)
    built = actor_and_critics(config, specs, networks, options.seed, deterministic_actor(specs.action, networks))
    last = config.final_exploration_noise
    return Td3Agent(
        specs.time_step,
        specs.action,
        built.actor,
        built.critic,
        built.actor_optimizer,
        built.critic_optimizer,
        exploration_noise_std=config.exploration_noise * half_width,
        final_exploration_noise_std=None if last is None else last * half_width,
        exploration_correlation=config.exploration_correlation,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        actor_update_period=config.actor_update_period,
        td_errors_loss_fn=tf.math.squared_difference,
        gamma=config.discount,
        reward_scale_factor=config.reward_scale,
        target_policy_noise=config.target_noise * half_width,
        target_policy_noise_clip=config.target_noise_clip * half_width,
        n_step_update=config.n_step,
        name="td3_agent",
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
    )
