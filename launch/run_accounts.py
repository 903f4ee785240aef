"""RunAccounts: what updates and their rollouts come to."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from launch.checkpoint import Progress
from launch.config import TrainConfig
from workers.rollout_report import RolloutReport


class Outcome(NamedTuple):
    """What an iteration came to.

    Attributes:
        progress: How far the run has come.
        row: The iteration's metrics.
        first_step_time: Clock time of the earliest first env step.
        reports: One of each rollout that was learned from.
    """

    progress: Progress
    row: dict[str, Any]
    first_step_time: float
    reports: Sequence[RolloutReport]


class RunAccounts:
    """Adds up a run.

    Args:
        config: The run's config.
        progress: How far the run has come.
    """

    def __init__(self, config: TrainConfig, progress: Progress) -> None:
        self._config = config
        self._first_step_time: float | None = None
        self._session_steps = 0
        self._train_s_before = progress.train_s
        self.go_back(progress)

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        return self._progress

    def go_back(self, progress: Progress) -> None:
        """Forgets what came after an earlier state of the run; the time that it took has passed all the same."""
        self._progress = progress
        self._returns: deque[float] = deque(progress.recent_returns, maxlen=100)

    def add(self, reports: Sequence[RolloutReport], metrics: Mapping[str, float]) -> Outcome:
        """Adds an update.

        Args:
            reports: One of each rollout that it has learned from.
            metrics: The learner's.
        """
        ended_returns = [value for report in reports for value in report.episode_returns]
        ended_lengths = [value for report in reports for value in report.episode_lengths]
        self._returns.extend(ended_returns)
        steps = sum(report.num_env_steps for report in reports)
        self._session_steps += steps
        if self._first_step_time is None:
            self._first_step_time = min(report.first_step_time for report in reports)
        session_s = time.time() - self._first_step_time
        mean = float(np.mean(self._returns)) if self._returns else float("nan")
        target = self._config.target_return
        solved = target is not None and len(self._returns) == 100 and mean >= target
        before = self._progress
        self._progress = Progress(
            updates=before.updates + 1,
            env_steps=before.env_steps + steps,
            episodes=before.episodes + len(ended_returns),
            train_s=self._train_s_before + session_s,
            recent_returns=tuple(self._returns),
            solved=before.solved or solved,
        )
        row = {
            "update": self._progress.updates,
            "env_steps": self._progress.env_steps,
            "episodes": self._progress.episodes,
            "steps_per_s": self._session_steps / max(session_s, 1e-9),
            "train_s": self._progress.train_s,
            "rollout_s": max(report.total_s for report in reports),
            "env_s": float(np.mean([report.env_s for report in reports])),
            "policy_s": float(np.mean([report.policy_s for report in reports])),
            "collector_wait_s": float(np.mean([report.wait_s for report in reports])),
            **metrics,
        }
        if self._returns:
            row["return_mean_100"] = mean
        if ended_returns:
            row["episode_return"] = float(np.mean(ended_returns))
            row["episode_length"] = float(np.mean(ended_lengths))
        return Outcome(self._progress, row, self._first_step_time, reports)
