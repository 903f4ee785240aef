"""A run that goes on with a replay buffer holds it once."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from driver_runs import CONFIG

from distpolicy.agents.dqn.config import DQNConfig
from distpolicy.errors import CheckpointError
from launch.training.checkpoint_store import CheckpointStore
from launch.training.run import TrainingRun

AGENT = DQNConfig(replay_capacity=1_024, batch_size=2, updates_per_call=1, samples_per_insert=0.01, learning_starts=100)
ALONE = dataclasses.replace(CONFIG, collectors=1, total_steps=1_024, eval_episodes=0, checkpoint_every=4, agent=AGENT)
MIB = 2**20


class Wide(gym.Env[np.ndarray, int]):
    """Observations of 32 kB."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (8_000,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self.np_random.random(8_000, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        return self.np_random.random(8_000, np.float32), 1.0, False, self.np_random.random() < 0.02, {}


def test_what_a_resumed_run_has_read_is_held_once(tmp_path: Path) -> None:
    with TrainingRun(ALONE, serial=True, run_dir=tmp_path / "run", reports=False, env=Wide) as run:
        run.run()
    longer = dataclasses.replace(ALONE, total_steps=4_096)
    tracemalloc.start()
    try:
        with TrainingRun(longer, serial=True, resume=tmp_path / "run", reports=False, env=Wide) as run:
            before = tracemalloc.get_traced_memory()[0]
            next(run)
            result = next(run)
            buffer_bytes = result.metrics["replay_memory_mib"] * MIB
            assert result.metrics["replay_size"] > 900
            assert before < 0.5 * buffer_bytes, "it is not read before it is needed"
            assert tracemalloc.get_traced_memory()[0] < 1.7 * buffer_bytes
            run.abandon()
    finally:
        tracemalloc.stop()


def test_a_segment_that_is_damaged_after_it_was_checked_is_told(tmp_path: Path) -> None:
    with TrainingRun(ALONE, serial=True, run_dir=tmp_path / "run", reports=False, env=Wide) as run:
        run.run()
    found = CheckpointStore(tmp_path / "run" / "checkpoints", keep=1).latest_to_resume()
    name = next(name for name in found.parts if name.startswith("segment-"))
    (found.path / name).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=f"{name} is missing or damaged"):
        list(found.segments())
