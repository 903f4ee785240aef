"""Functions that train an agent on a rollout: what a learner, the conformance suite and the tests have in common.

This module does not import TensorFlow at its start, since it is also imported in processes without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distpolicy.errors import ConfigError
from distpolicy.trajectories.rollout import Rollout, zero_rollout

if TYPE_CHECKING:
    from distpolicy.agents.tf_agent import LossInfo, TFAgent


def zero_rollout_for(agent: TFAgent, num_slots: int, num_steps: int) -> Rollout:
    """Returns a rollout of zeros, by the specs of the agent's collect policy.

    Args:
        agent: The agent.
        num_slots: B.
        num_steps: T.
    """
    from distpolicy.specs.tensor_spec import to_nest_array_spec

    policy = agent.collect_policy
    spec = to_nest_array_spec(policy.collect_data_spec)
    state_spec = to_nest_array_spec(policy.policy_state_spec)
    shapes = (spec.observation, spec.action, spec.policy_info, num_slots, num_steps)
    return zero_rollout(*shapes, policy_state_spec=state_spec)


def train_arguments_of(rollout: Rollout) -> dict[str, Any]:
    """Returns what an agent may ask for about a rollout, by name, as views of it; see ``TFAgent``."""
    return {
        "final_observation": rollout.final_observation,
        "policy_state": rollout.policy_state,
        "discounted_return": rollout.discounted_return,
    }


def train_with(agent: TFAgent, experience: Any, weights: Any, known: Mapping[str, Any]) -> LossInfo:
    """Trains an agent, and gives it those of the known arguments that it asks for.

    Args:
        agent: The agent.
        experience: A Trajectory of arrays ``[B, T, ...]``.
        weights: float32 ``[B, T]``: 0 for rows that are not a transition of the task.
        known: Arguments by name.

    Raises:
        ConfigError: If the agent asks for another argument; names it.
    """
    return agent.train(experience, weights, **_asked(agent, known))


def train_steps_with(agent: TFAgent, experience: Any, weights: Any, known: Mapping[str, Any]) -> LossInfo:
    """Takes K gradient steps, as :func:`train_with` takes one.

    Args:
        agent: The agent.
        experience: As for ``train``, with a further first dimension K.
        weights: float32 ``[K, ...]``.
        known: Arguments by name, each ``[K, ...]``.

    Raises:
        ConfigError: If the agent asks for another argument; names it.
    """
    return agent.train_steps(experience, weights, **_asked(agent, known))


def _asked(agent: TFAgent, known: Mapping[str, Any]) -> dict[str, Any]:
    asked = agent.train_arguments
    if unknown := [name for name in asked if name not in known]:
        raise ConfigError(f"the agent's train asks for {unknown[0]}; a learner knows {', '.join(sorted(known))}")
    return {name: known[name] for name in asked}
