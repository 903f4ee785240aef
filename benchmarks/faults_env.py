"""An environment whose observations are large."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

SIZE = 100_000


class BulkyEnv(gym.Env):
    """Observations of 400 kB in episodes of 8 steps."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (SIZE,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._step = 0
        return np.zeros(SIZE, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._step += 1
        return np.full(SIZE, self._step / 8, np.float32), float(action), self._step == 8, False, {}
