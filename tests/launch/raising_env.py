"""An environment that raises in a slot of the training, and in an episode of the evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv


class RaisingEnv(CartPoleEnv):
    """CartPole that fails once in its fifth step.

    Args:
        training: The seed of the slot in which it does.
        evaluation: The seed of the episode in which it does.
    """

    def __init__(self, training: int, evaluation: int) -> None:
        super().__init__()
        self._seeds = (training, evaluation)
        self._is_faulty, self._num_steps = False, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        if seed is not None:
            self._is_faulty, self._num_steps = seed in self._seeds, 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._num_steps += 1
        if self._is_faulty and self._num_steps == 5:
            fail_on_purpose()
        return super().step(action)


def fail_on_purpose() -> None:
    raise OSError("the simulator is gone")
