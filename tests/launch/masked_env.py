"""A corridor in which some actions are forbidden in each place, and a file tells whether one was taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

LENGTH, NUM_ACTIONS = 6, 4


class MaskedCorridor(gym.Env):
    """Walk to the right end by a step left, a step right, or a jump over one place; the fourth action is never allowed.

    Nobody may step out of the corridor, and jumps begin at even places only. The mask allows nothing after an episode's
    end. A forbidden action is an error.

    Args:
        told: A file that a forbidden action makes.
        dtype: Dtype of the mask.
        further: Whether observations have an entry more.
    """

    def __init__(self, told: str, dtype: str = "int8", further: bool = False) -> None:
        self._told, self._dtype, self._has_more = Path(told), np.dtype(dtype), further
        spaces = {
            "place": gym.spaces.Box(0.0, 1.0, (LENGTH,), np.float32),
            "action_mask": gym.spaces.Box(0, 1, (NUM_ACTIONS,), self._dtype.type),
        }
        if further:
            spaces["clock"] = gym.spaces.Discrete(32)
        self.observation_space = gym.spaces.Dict(spaces)
        self.action_space = gym.spaces.Discrete(NUM_ACTIONS)
        self._place = self._num_steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self._place, self._num_steps = int(self.np_random.integers(LENGTH - 1)), 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if not self._mask()[int(action)]:
            self._told.write_text(f"action {action} at place {self._place}")
            raise ValueError(f"action {action} is forbidden at place {self._place}")
        self._place += (-1, 1, 2)[int(action)]
        self._num_steps += 1
        is_over = self._place == LENGTH - 1
        return self._observation(), float(is_over) - 0.1, is_over, self._num_steps >= 30, {}

    def _mask(self) -> np.ndarray:
        place = self._place
        allowed = [place > 0, True, place % 2 == 0 and place + 2 < LENGTH, False]
        return np.array(allowed, self._dtype) if place < LENGTH - 1 else np.zeros(NUM_ACTIONS, self._dtype)

    def _observation(self) -> dict[str, Any]:
        place = np.zeros(LENGTH, np.float32)
        place[self._place] = 1.0
        more = {"clock": self._num_steps} if self._has_more else {}
        return {"place": place, "action_mask": self._mask(), **more}
