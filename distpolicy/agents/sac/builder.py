"""Builds soft actor-critic's agent from the settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.action_masks import ActionMaskSplitter, seen_by_networks
from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.off_policy_actor_critic_builder import actor_and_critics, adam
from distpolicy.agents.sac.config import SACConfig
from distpolicy.agents.sac.discrete_sac_agent import DiscreteSacAgent
from distpolicy.agents.sac.sac_agent import SacAgent
from distpolicy.agents.sac.soft_actor_critic_agent import SoftActorCriticAgent
from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.distributions.utils import action_scale
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.policies.masks import num_values
from distpolicy.policies.q_policy import check_scalar_action
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs

# Bounds of the logarithm of the actor's deviation.
_LOG_STD = (-20.0, 2.0)


def make_agent(
    config: SACConfig,
    specs: EnvironmentSpecs,
    networks: NetworkConfig,
    options: LearnerOptions,
    kind: type[SoftActorCriticAgent] | None = None,
    **arguments: Any,
) -> SoftActorCriticAgent:
    """Builds the agent.

    Args:
        config: The settings.
        specs: Of the environment.
        networks: The settings of the networks.
        options: The settings of the learner.
        kind: Its class; None for a DiscreteSacAgent with an action of integers, else a SacAgent.
        arguments: Further arguments of the class.
    """
    action_spec = tensor_spec.from_spec(specs.action)
    is_discrete = any(tensor_spec.is_discrete(spec) for spec in tf.nest.flatten(action_spec))
    if is_discrete:
        check_scalar_action(action_spec, "sac")

    def make_actor(input_spec: Any, seed: int) -> Network:
        return ActorDistributionNetwork(
            input_spec,
            action_spec,
            fc_layer_params=networks.actor_units,
            activation_fn=networks.activation,
            seed=seed,
            continuous_projection_net=_projection,
        )

    num_actions = num_values(tf.nest.flatten(action_spec)[0]) if is_discrete else None
    seen = seen_by_networks(specs, options.action_mask)
    built = actor_and_critics(config, seen.specs, networks, options.seed, make_actor, num_actions=num_actions)
    alpha_rate = config.alpha_learning_rate or config.learning_rate
    made: Any = kind or (DiscreteSacAgent if is_discrete else SacAgent)
    return made(
        specs.time_step,
        action_spec,
        built.critic,
        built.actor,
        built.actor_optimizer,
        built.critic_optimizer,
        adam([tf.zeros(())], alpha_rate) if config.learn_alpha else None,
        target_update_tau=config.target_update_tau,
        target_update_period=config.target_update_period,
        gamma=config.discount,
        reward_scale_factor=config.reward_scale,
        initial_log_alpha=math.log(config.initial_alpha),
        n_step_update=config.n_step,
        jit_compile=options.jit_compile,
        mixed_precision=options.mixed_precision,
        **{
            "name": "sac_agent",
            **_own_arguments(config, action_spec, is_discrete),
            **_masking(seen.splitter),
            **arguments,
        },
    )


def _projection(spec: Any, seed: int) -> TanhNormalProjectionNetwork:
    return TanhNormalProjectionNetwork(
        spec, std_transform=lambda log_std: tf.exp(tf.clip_by_value(log_std, *_LOG_STD)), seed=seed
    )


def _masking(splitter: ActionMaskSplitter | None) -> dict[str, Any]:
    """Returns the argument of the agent with masks, if there are any: then the action is discrete."""
    return {} if splitter is None else {"observation_and_action_constraint_splitter": splitter}


def _own_arguments(config: SACConfig, action_spec: Any, is_discrete: bool) -> dict[str, Any]:
    """Returns the arguments that are not for both agents. For floats the entropy is in the units of the actions."""
    target, correlation = config.target_entropy, config.exploration_correlation
    if is_discrete:
        return {} if target is None else {"target_entropy_share": target}
    scales = [action_scale(spec)[1].numpy() for spec in tf.nest.flatten(action_spec)]
    scaled = -sum(np.size(scale) for scale in scales) if target is None else target
    entropy = float(scaled + sum(np.sum(np.log(scale)) for scale in scales))
    return {"target_entropy": entropy, **({"exploration_correlation": correlation} if correlation else {})}
