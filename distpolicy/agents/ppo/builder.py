"""Builds PPO's agent and policy from the settings."""

from __future__ import annotations

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.network_builders import actor_networks, value_network
from distpolicy.agents.ppo import policy
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.ppo_agent import PPOAgent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def make_agent(
    config: PPOConfig, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions
) -> PPOAgent:
    """Builds the agent."""
    built = actor_networks(specs, networks, options.seed)
    return PPOAgent(
        specs.time_step,
        specs.action,
        built.actor,
        value_network(built.input_spec, config.value_units, networks.activation, options.seed),
        config,
        seed=options.seed,
        jit_compile=options.jit_compile,
        encoding_network=built.encoding,
        replicas=options.replicas,
        mixed_precision=options.mixed_precision,
    )


def make_collect_policy(config: PPOConfig, specs: EnvironmentSpecs, networks: NetworkConfig, seed: int) -> ActorPolicy:
    """Builds the policy that draws actions and emits their log-probabilities."""
    network = actor_networks(specs, networks, seed).policy_network(specs.time_step.observation)
    return policy.make_collect_policy(specs.time_step, specs.action, network, config.normalize_observations)
