"""A vectorised environment that hangs; importing this module registers it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from toy_envs import CountingVectorEnv, simulate_for_ever


class HangingVectorEnv(CountingVectorEnv):
    """Hangs in the 20th call of ``step``."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs, gym.vector.AutoresetMode.NEXT_STEP)
        self._num_calls = 0

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        self._num_calls += 1
        if self._num_calls == 20:
            simulate_for_ever()
        return super().step(actions)


gym.register("HangingVector-v0", vector_entry_point=HangingVectorEnv)
