"""The policy that the collectors of actor-critic agents run."""

from __future__ import annotations

from typing import Any

from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.masks import Splitter, network_input_spec
from distpolicy.specs.tensor_spec import from_spec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.float_leaves_normalizer import FloatLeavesNormalizer
from distpolicy.utils.nests.array_nest import flatten


def make_collect_policy(
    time_step_spec: TimeStep,
    action_spec: Any,
    actor_network: Network,
    normalize_observations: bool,
    splitter: Splitter = None,
) -> ActorPolicy:
    """Builds the policy that collectors run; the learner builds its policy with the same function.

    The policy does not clip actions, since agents learn from actions as they were drawn. It emits log-probabilities.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        actor_network: From observations to distributions, see :attr:`ActorCritic.policy_network`.
        normalize_observations: Whether it normalises observations by running statistics, which it holds.
        splitter: Function from an observation to the network's input and a mask of actions; None for no masks.
    """
    normalizer = None
    if normalize_observations:
        masked_action = flatten(from_spec(action_spec))[0]
        normalizer = make_normalizer(network_input_spec(time_step_spec.observation, splitter, masked_action))
    return ActorPolicy(
        time_step_spec,
        action_spec,
        actor_network,
        observation_normalizer=normalizer,
        clip=False,
        emit_log_probability=True,
        observation_and_action_constraint_splitter=splitter,
        name="collect_policy",
    )


def make_normalizer(spec: Any) -> FloatLeavesNormalizer:
    """Returns a normaliser with the bound and the epsilon for which PPO's common settings were tuned."""
    return FloatLeavesNormalizer(spec, clip_value=10.0, variance_epsilon=1e-8)
