"""PoolEvaluator: evaluations on the collectors of a run, and their metrics."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distpolicy.errors import DistPolicyError, InferenceLostError
from launch.config.common import split_evenly
from launch.config.train import TrainConfig
from launch.supervision import calls
from launch.supervision.actor_errors import is_death, is_late, reason_of_death
from launch.supervision.collector_pool import CollectorPool
from launch.training.pending_update import PendingEpisodes, PendingEvaluation
from launch.training.recovery import WorkerRecovery
from workers.collection.evaluator import EvaluatedPolicy, EvaluationJob, EvaluationResult
from workers.collection.rollout_report import RolloutReport

# A step of an evaluation counts as lost if it takes so many times as long as a step of the newest rollouts.
_TIMES_ROLLOUT = 10.0


class PoolEvaluator:
    """Plays episodes on all collectors, on seeds that training does not use.

    An episode's seed depends on its number, so the result does not depend on the number of collectors. If a collector
    dies, others play its share.

    Args:
        config: The run's config.
        pool: The collectors.
        recovery: Replaces those that die.
        greedy_program: Returns a reference of the greedy policy's program, or None.
    """

    def __init__(
        self,
        config: TrainConfig,
        pool: CollectorPool,
        recovery: WorkerRecovery,
        greedy_program: Callable[[], Any],
    ) -> None:
        self._config, self._pool, self._recovery = config, pool, recovery
        self._greedy_program = greedy_program
        self._rollout_s = 0.0

    def note_rollouts(self, reports: Sequence[RolloutReport]) -> None:
        """Notes how long the newest rollouts took: steps of an evaluation take about as long.

        Args:
            reports: The reports of an update's rollouts; there may be none.
        """
        self._rollout_s = max((report.total_s for report in reports), default=self._rollout_s)

    def submit(
        self, weights: Any, num_episodes: int, policies: Sequence[EvaluatedPolicy], is_last: bool = False
    ) -> PendingEvaluation:
        """Submits an evaluation. Waits only if no collector is up.

        Args:
            weights: Reference of the weights that act.
            num_episodes: Number of episodes of each policy.
            policies: The policies to evaluate.
            is_last: Whether no rollouts follow.
        """
        jobs = []
        for policy in policies:
            first = 0
            for count in split_evenly(num_episodes, self._pool.size):
                if count:
                    jobs.append(self._job(count, first, policy, is_last))
                first += count
        return PendingEvaluation(weights, self._ask(weights, jobs))

    def _job(self, count: int, first: int, policy: EvaluatedPolicy, is_last: bool) -> EvaluationJob:
        config = self._config
        return EvaluationJob(
            count, first, config.seed, policy, config.eval_envs, config.eval_max_episode_steps, is_last
        )

    def _ask(self, weights: Any, jobs: Sequence[EvaluationJob]) -> list[PendingEpisodes]:
        self._recovery.wait_for_handles()
        return [
            PendingEpisodes(job, handle, handle.actor.evaluate.remote(weights, job, self._program(job.policy)))
            for job, handle in zip(jobs, itertools.cycle(self._pool.handles), strict=False)
        ]

    def _program(self, policy: EvaluatedPolicy) -> Any:
        return self._greedy_program() if policy == "greedy" else None

    def settle(self, pending: PendingEvaluation) -> list[EvaluationResult]:
        """Waits for an evaluation; plays the shares of collectors that die again.

        Returns:
            The results, one for each policy.

        Raises:
            DistPolicyError: If an environment or a collector fails too often, or the weights are lost.
        """
        results: dict[tuple[str, int], EvaluationResult] = {}
        parts = list(pending.parts)
        while parts:
            lost = []
            for part in parts:
                try:
                    result = calls.get(part.result, self._timeout_s(part.job))
                except DistPolicyError as error:
                    # Without its server no collector can play it.
                    if isinstance(error, InferenceLostError) or not (is_death(error) or is_late(error)):
                        raise
                    self._recovery.lose(part.handle, reason_of_death(error), 0)
                    lost.append(part.job)
                else:
                    results[part.job.policy, part.job.first_episode] = result
            parts = self._ask(pending.weights, lost) if lost else []
        policies = dict.fromkeys(part.job.policy for part in pending.parts)
        return [
            dataclasses.replace(
                EvaluationResult.joined([results[key] for key in sorted(results) if key[0] == policy]), policy=policy
            )
            for policy in policies
        ]

    def _timeout_s(self, job: EvaluationJob) -> float:
        """Returns the seconds that a share may take.

        The collector itself notices a step, a constructor or a ``close`` that hangs. This is for what it cannot notice.
        """
        config = self._config
        num_envs = min(job.num_envs or config.envs_per_collector, job.num_episodes)
        rounds = math.ceil(job.num_episodes / num_envs)
        step_s = config.step_timeout_s
        if self._rollout_s:
            share = max(num_envs / config.envs_per_collector, 1.0)
            step_s = min(_TIMES_ROLLOUT * share * self._rollout_s / config.rollout_steps, step_s)
        return config.timeout_s + rounds * job.max_episode_steps * step_s


def evaluation_metrics(results: Sequence[EvaluationResult]) -> dict[str, float]:
    """Returns the metrics of an evaluation, as in ``metrics.csv``."""
    metrics: dict[str, float] = {}
    for result in results:
        prefix = "eval" if result.policy == "greedy" else f"eval_{result.policy}"
        metrics[f"{prefix}_return_mean"] = float(np.mean(result.returns))
        metrics[f"{prefix}_length_mean"] = float(np.mean(result.lengths))
        metrics |= {f"{prefix}_info/{name}": value for name, value in result.info_means.items()}
    return metrics


def best_return(results: Sequence[EvaluationResult]) -> float:
    """Returns the highest mean return of an evaluation's policies."""
    return max(float(np.mean(result.returns)) for result in results)
