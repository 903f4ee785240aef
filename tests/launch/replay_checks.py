"""Checks of a replay buffer in a learner's state: no row twice, and samples exactly as often as was asked for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from distpolicy.agents.experience_config import Replay
from launch.config.train import TrainConfig
from workers.learning.learner import SEGMENTS

OBSERVATION = "observation"


def rows(state: dict[str, np.ndarray], name: str) -> np.ndarray:
    """An array of the steps of all env slots, those of a segment after those of the one before; the tips come last."""
    parts = [*(str(part) for part in state.get(SEGMENTS, ())), "experience/ring"]
    return np.concatenate([state[f"{part}/{name}"] for part in parts])


def transitions(state: dict[str, np.ndarray]) -> set[bytes]:
    """The observations at which transitions start, each of which has to be there once."""
    (name,) = {path.partition("/")[2] for path in state if path.startswith("segment-") and OBSERVATION in path}
    found = rows(state, name)[rows(state, "is_start")]
    distinct = {row.tobytes() for row in found}
    assert len(distinct) == len(found), "a transition is there twice"
    return distinct


def check_replay(state: dict[str, np.ndarray], env_steps: int, config: TrainConfig) -> None:
    """Checks a buffer that nothing was written over in yet.

    Args:
        state: The learner's state.
        env_steps: The env steps that were learned from.
        config: The run's settings, with a whole number of samples per insert.
    """
    replay = config.agent.experience(config.shape)
    assert isinstance(replay, Replay)
    assert int(state["experience/debt/num_inserted"]) == env_steps
    assert len(transitions(state)) == env_steps
    due = max(env_steps - replay.min_size, 0) * int(replay.samples_per_insert)
    num_calls, debt = divmod(due, replay.samples_per_call)
    (steps,) = (int(value) for path, value in state.items() if path.endswith("train_step_counter"))
    assert steps == num_calls * replay.num_updates
    assert Fraction(*map(int, state["experience/debt/debt"])) == debt
