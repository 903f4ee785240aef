"""Frames: an environment with observations like an Atari game's, and nothing to learn. Needs Gymnasium alone."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

NUM_FRAMES = 64
EPISODE_STEPS = 200


class Frames(gym.Env):
    """Shows uint8 ``[84, 84, 4]`` of noise; takes one of 6 actions."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)
        self.action_space = gym.spaces.Discrete(6)
        self._frames = np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, 84, 84, 4), np.uint8)
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begins an episode."""
        super().reset(seed=seed)
        self._step = 0
        return self._frames[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Shows the next frames."""
        self._step += 1
        return self._frames[self._step % NUM_FRAMES], float(action == 0), False, self._step == EPISODE_STEPS, {}
