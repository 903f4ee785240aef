"""TotalsTracker: a run's totals, from its updates and rollouts."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from launch.config.train import TrainConfig
from launch.output.recent_speed import RecentSpeed
from workers.collection.rollout_report import RolloutReport


@dataclass(frozen=True)
class TrainingTotals:
    """The totals of a run.

    Attributes:
        updates: Number of updates of the learner.
        env_steps: Number of environment steps that were learned from.
        episodes: Number of episodes that ended.
        train_s: Seconds of training, over all starts of the run.
        recent_returns: Returns of the last 100 episodes.
        solved: Whether the target return was reached.
        best_evaluation: The highest mean return of an evaluation during training; None if there was none.
        solved_return: The mean return that reached the target; None if none has. Updates that were under way then may
            change the mean of the last episodes.
        gradient_steps: Number of gradient steps of a run that learns from a dataset; 0 for other runs.
        replay_lost: Number of transitions that the replay buffer held, and that were lost since checkpoints do not hold
            them; over all starts of the run.
    """

    updates: int = 0
    env_steps: int = 0
    episodes: int = 0
    train_s: float = 0.0
    recent_returns: tuple[float, ...] = field(default=())
    solved: bool = False
    best_evaluation: float | None = None
    solved_return: float | None = None
    gradient_steps: int = 0
    replay_lost: int = 0

    @property
    def steps(self) -> int:
        """The steps that ``total_steps`` counts: env steps, or gradient steps if the run learns from a dataset."""
        return self.env_steps or self.gradient_steps


class UpdateResult(NamedTuple):
    """The result of an update.

    Attributes:
        totals: The run's totals after it.
        metrics: Its metrics by name, as in ``metrics.csv``.
        first_step_time: Clock time of the earliest first env step; of the first update's begin, if there are none.
        reports: One report for each rollout that was learned from.
    """

    totals: TrainingTotals
    metrics: dict[str, Any]
    first_step_time: float
    reports: Sequence[RolloutReport]


class TotalsTracker:
    """Keeps the totals of a run.

    Args:
        config: The run's config.
        totals: The totals to begin with.
    """

    def __init__(self, config: TrainConfig, totals: TrainingTotals) -> None:
        self._config = config
        self._first_step_time: float | None = None
        self._session_steps = 0
        self._speed: RecentSpeed | None = None
        self._train_s_before = totals.train_s
        self._best: float | None = None
        self.go_back(totals)

    @property
    def totals(self) -> TrainingTotals:
        """The run's totals so far."""
        return self._totals

    def go_back(self, totals: TrainingTotals) -> None:
        """Returns to earlier totals. ``train_s`` stays, since the time was spent, and so does the best evaluation."""
        best = max(
            (found for found in (self._best, totals.best_evaluation) if found is not None),
            default=None,
        )
        self._best = best
        self._totals = dataclasses.replace(totals, best_evaluation=best)
        self._returns: deque[float] = deque(totals.recent_returns, maxlen=100)

    def lose_replay(self, num_transitions: int) -> None:
        """Counts transitions of the replay buffer that the state of these totals leaves out."""
        self._totals = dataclasses.replace(self._totals, replay_lost=self._totals.replay_lost + num_transitions)

    def is_best(self, mean_return: float) -> bool:
        """Returns True if the mean return of an evaluation is higher than the best one so far."""
        return self._best is None or mean_return > self._best

    def note_best(self, mean_return: float) -> None:
        """Notes the mean return of the best evaluation."""
        self._best = mean_return
        self._totals = dataclasses.replace(self._totals, best_evaluation=mean_return)

    def solve_by_evaluation(self, mean_return: float) -> None:
        """Counts the run as solved if an evaluation has reached the target.

        Only for agents whose collect policy adds noise, since the returns of its episodes are below what was learned,
        and for those that learn from a dataset, which play no other episodes.

        Args:
            mean_return: The mean return of the evaluation.
        """
        target = self._config.target_return
        if not self._config.ends_by_evaluation or target is None or mean_return < target or self._totals.solved:
            return
        # The evaluation belongs to the time that it took to get there.
        train_s = self.train_s_at(time.time())
        self._totals = dataclasses.replace(self._totals, solved=True, solved_return=mean_return, train_s=train_s)

    def add(self, reports: Sequence[RolloutReport], learner_metrics: Mapping[str, float]) -> UpdateResult:
        """Adds an update.

        Args:
            reports: One report for each rollout that it learned from.
            learner_metrics: The learner's metrics.
        """
        ended_returns, ended_lengths = _ended_episodes(reports)
        self._returns.extend(ended_returns)
        env_steps = sum(report.num_env_steps for report in reports)
        gradient_steps = self._config.steps_per_update if self._config.is_offline else 0
        self._session_steps += env_steps or gradient_steps
        now = time.time()
        if self._first_step_time is None:
            begun = now - learner_metrics.get("update_s", 0.0)
            self._first_step_time = min((report.first_step_time for report in reports), default=begun)
        if self._speed is None:
            self._speed = RecentSpeed(self._first_step_time)
        mean = float(np.mean(self._returns)) if self._returns else float("nan")
        target = self._config.target_return
        solved = target is not None and len(self._returns) == 100 and mean >= target
        before = self._totals
        self._totals = TrainingTotals(
            updates=before.updates + 1,
            env_steps=before.env_steps + env_steps,
            episodes=before.episodes + len(ended_returns),
            train_s=self.train_s_at(now),
            recent_returns=tuple(self._returns),
            solved=before.solved or solved,
            best_evaluation=self._best,
            solved_return=mean if solved and not before.solved else before.solved_return,
            gradient_steps=before.gradient_steps + gradient_steps,
            replay_lost=before.replay_lost,
        )
        metrics = {
            "update": self._totals.updates,
            **self._counts(),
            "steps_per_s": self._speed.add(now, self._session_steps),
            "train_s": self._totals.train_s,
            **_timings(reports),
            **learner_metrics,
        }
        if "replay_size" in learner_metrics:
            metrics["replay_lost"] = self._totals.replay_lost
        if self._returns:
            metrics["return_mean_100"] = mean
        if ended_returns:
            metrics["episode_return"] = float(np.mean(ended_returns))
            metrics["episode_length"] = float(np.mean(ended_lengths))
        metrics |= _info_means([info for report in reports for info in report.episode_infos])
        return UpdateResult(self._totals, metrics, self._first_step_time, reports)

    def train_s_at(self, clock_s: float) -> float:
        """Returns the seconds of training up to a clock time of this start, over all starts of the run."""
        if self._first_step_time is None:
            return self._train_s_before
        return self._train_s_before + max(clock_s - self._first_step_time, 0.0)

    def _counts(self) -> dict[str, int]:
        """Returns the totals that metrics show."""
        if self._config.is_offline:
            return {"gradient_steps": self._totals.gradient_steps}
        return {"env_steps": self._totals.env_steps, "episodes": self._totals.episodes}


def _timings(reports: Sequence[RolloutReport]) -> dict[str, float]:
    """Returns the times of an update's rollouts by name; nothing if it had none."""
    if not reports:
        return {}
    synced = [report.sync_s for report in reports if report.sync_s is not None]
    return {
        **({"sync_s": float(np.mean(synced))} if synced else {}),
        "rollout_s": max(report.total_s for report in reports),
        "env_s": float(np.mean([report.env_s for report in reports])),
        "policy_s": float(np.mean([report.policy_s for report in reports])),
        "collector_wait_s": float(np.mean([report.wait_s for report in reports])),
    }


def _info_means(infos: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the mean of each number in the infos of episodes that ended, as the metric ``info/NAME``."""
    names = dict.fromkeys(name for info in infos for name in info)
    return {f"info/{name}": float(np.mean([info[name] for info in infos if name in info])) for name in names}


def _ended_episodes(reports: Sequence[RolloutReport]) -> tuple[list[float], list[int]]:
    """Returns the returns and lengths of one update's episodes, in the order in which they ended.

    The order is by step and then by env slot, so it does not depend on how slots are spread over collectors. If a
    collector has delivered several rollouts, the steps of the second follow the steps of the first.
    """
    num_before: Counter[int] = Counter()
    ended = []
    for report in sorted(reports, key=lambda report: (report.collector, report.generation, report.number)):
        turn = num_before[report.collector]
        num_before[report.collector] += 1
        episodes = zip(report.episode_ends, report.episode_returns, report.episode_lengths, strict=True)
        ended += [((turn, step, report.collector, row), value, length) for (row, step), value, length in episodes]
    # All collectors have the same number of environments, so collector index and row give the order of env slots.
    ended.sort(key=lambda episode: episode[0])
    return [value for _, value, _ in ended], [length for _, _, length in ended]
