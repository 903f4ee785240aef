"""CartPole that takes its time, until a file says that it need not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv

STEP_S = 0.005


class PacedCartPole(CartPoleEnv):
    """CartPole whose steps take 5 ms, so that a run lasts until it is let go.

    Args:
        let_go: The file.
    """

    def __init__(self, let_go: str) -> None:
        super().__init__()
        self._let_go = Path(let_go)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        if not self._let_go.exists():
            time.sleep(STEP_S)
        return super().step(action)
