"""Training an agent on a rollout, as a learner does."""

from __future__ import annotations

from distpolicy.agents.tf_agent import TFAgent
from distpolicy.specs.tensor_spec import to_nest_array_spec
from distpolicy.trajectories.rollout import Rollout, zero_rollout


def train(agent: TFAgent, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
    """Trains on a rollout; returns the loss and the other figures by name."""
    known = {
        "final_observation": rollout.final_observation,
        "policy_state": rollout.policy_state,
        "discounted_return": rollout.discounted_return,
        "progress": progress,
    }
    asked = {name: known[name] for name in agent.train_arguments}
    loss, extra = agent.train(rollout.trajectory, rollout.step_weights, **asked)
    return {"loss": float(loss), **{name: float(value) for name, value in extra.items()}}


def zeros_for(agent: TFAgent, num_slots: int, num_steps: int) -> Rollout:
    """Returns a rollout of zeros that the agent can train on."""
    policy = agent.collect_policy
    spec = to_nest_array_spec(policy.collect_data_spec)
    state_spec = to_nest_array_spec(policy.policy_state_spec)
    shapes = (spec.observation, spec.action, spec.policy_info, num_slots, num_steps)
    return zero_rollout(*shapes, policy_state_spec=state_spec)
