"""A CartPole whose steps take uneven times, for runs whose data must not depend on them."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

# Not seeded: every run has other times.
_TIMES = np.random.default_rng()


class UnevenCartPole(CartPoleEnv):
    """CartPole with 500 steps at most, which sleeps before some steps.

    Args:
        max_delay_s: The longest sleep.
    """

    def __init__(self, max_delay_s: float = 0.0) -> None:
        super().__init__()
        self._max_delay_s, self._num_steps = max_delay_s, 0

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self._num_steps = 0
        return super().reset(**arguments)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._max_delay_s and _TIMES.random() < 0.2:
            time.sleep(_TIMES.random() * self._max_delay_s)
        self._num_steps += 1
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self._num_steps >= 500, info


class SlowFirstCartPole(UnevenCartPole):
    """A CartPole that is slow in the first process that steps one, and fast in the others.

    Args:
        flag: A file that the first process makes.
        delay_s: The seconds that each of its steps takes longer.
    """

    def __init__(self, flag: str, delay_s: float) -> None:
        super().__init__()
        self._flag, self._delay_s = Path(flag), delay_s
        self._is_slow: bool | None = None

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._is_slow is None:
            # A link is there whole or not at all.
            with contextlib.suppress(FileExistsError):
                self._flag.symlink_to(str(os.getpid()))
            self._is_slow = os.readlink(self._flag) == str(os.getpid())
        time.sleep(self._delay_s if self._is_slow else 0.0)
        return super().step(action)
