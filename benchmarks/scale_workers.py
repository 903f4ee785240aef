"""Workers that cost next to nothing: what is left of a run with them is the driver's work and Ray's."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from workers.collection.rollout_report import RolloutReport


class LightCollector:
    """A collector whose rollouts are all one array; it imports no TensorFlow.

    Args:
        index: Its number.
        num_env_steps: Steps that it reports of each rollout.
    """

    def __init__(self, index: int, num_env_steps: int) -> None:
        self._index, self._num_env_steps, self._number = index, num_env_steps, 0

    def prepare(self, num_bytes: int) -> None:
        """Sets the size of its rollouts."""
        self._rollout = np.ones(num_bytes // 4, np.float32)

    def ping(self) -> int:
        """The id of its process."""
        return os.getpid()

    def rollout(self, weights: np.ndarray) -> tuple[np.ndarray, RolloutReport]:
        """The rollout, and a report like that of a real one."""
        self._number += 1
        now = time.time()
        report = RolloutReport(
            self._index,
            0,
            self._number,
            None,
            self._num_env_steps,
            [20.0] * 4,
            [20] * 4,
            [(0, 20 * step) for step in range(4)],
            0.0,
            0.0,
            0.0,
            0.0,
            now,
        )
        return self._rollout, report


class LightLearner:
    """A learner that learns nothing: its weights are always one array."""

    def prepare(self, num_bytes: int) -> None:
        """Sets the size of the weights."""
        self._weights = np.ones(num_bytes // 4, np.float32)

    def ping(self) -> int:
        """The id of its process."""
        return os.getpid()

    def warm_up(self, num_slots: int, num_steps: int) -> float:
        """Nothing to compile."""
        return 0.0

    def weights(self) -> np.ndarray:
        """The weights."""
        return self._weights

    def update(self, totals: float, *rollouts: np.ndarray, after: Any = None) -> tuple[np.ndarray, dict[str, float]]:
        """The weights, and metrics like those of a real update."""
        names = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "gradient_norm", "policy_lag")
        return self._weights, dict.fromkeys((*names, "update_s", "learner_wait_s", "learning_rate"), 0.0)

    def state(self, kept_parts: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Nothing to keep."""
        return {}


class Reader:
    """A process that copies weights into memory of its own, as a collector does.

    Args:
        weights_bytes: Their size.
    """

    def __init__(self, weights_bytes: int) -> None:
        self._memory = np.zeros(weights_bytes // 4, np.float32)

    def ping(self) -> None:
        """Does nothing."""

    def apply(self, weights: np.ndarray) -> int:
        """Copies them; returns their size."""
        np.copyto(self._memory, weights)
        return self._memory.nbytes
