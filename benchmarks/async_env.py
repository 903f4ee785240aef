"""CartPole whose steps take some milliseconds, in every collector or longer in the first one."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv

MAX_EPISODE_STEPS = 500


class PacedCartPole(CartPoleEnv):
    """CartPole whose steps wait, as a simulator on another machine does.

    Args:
        step_s: Seconds that a step takes longer.
        slow_factor: How many times as long in the first process that steps one.
        flag: Path at which that process leaves its id; "" if all are alike.
    """

    def __init__(self, step_s: float, slow_factor: float = 1.0, flag: str = "") -> None:
        super().__init__()
        self._step_s, self._slow_factor, self._flag = step_s, slow_factor, flag
        self._wait_s: float | None = None
        self._num_steps = 0

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self._num_steps = 0
        return super().reset(**arguments)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._wait_s is None:
            self._wait_s = self._step_s * (self._slow_factor if self._is_first() else 1.0)
        time.sleep(self._wait_s)
        self._num_steps += 1
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self._num_steps >= MAX_EPISODE_STEPS, info

    def _is_first(self) -> bool:
        if not self._flag:
            return False
        # A link is there whole or not at all.
        with contextlib.suppress(FileExistsError):
            Path(self._flag).symlink_to(str(os.getpid()))
        return os.readlink(self._flag) == str(os.getpid())
