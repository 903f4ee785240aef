"""Training an agent on a rollout, as a learner does."""

from __future__ import annotations

from distpolicy.agents.agent_training import train_arguments_of, train_with
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.trajectories.rollout import Rollout


def train(agent: TFAgent, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
    """Trains on a rollout; returns the loss and the other figures by name."""
    known = {**train_arguments_of(rollout), "progress": progress}
    loss, extra = train_with(agent, rollout.trajectory, rollout.step_weights, known)
    return {"loss": float(loss), **{name: float(value) for name, value in extra.items()}}
