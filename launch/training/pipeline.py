"""UpdatePipeline: submits the iterations of a training run ahead."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from distpolicy.weights import Acknowledgement
from launch.config.interval import Interval, IntervalClock
from launch.config.train import TrainConfig
from launch.supervision import calls
from launch.supervision.collector_handle import CollectorHandle
from launch.supervision.collector_pool import CollectorPool
from launch.training.evaluation import PoolEvaluator
from launch.training.learner_group import LearnerGroup
from launch.training.pending_update import PendingRollout, PendingUpdate
from launch.training.recovery import WorkerRecovery
from launch.training.totals import TrainingTotals
from workers.collection.evaluator import EvaluatedPolicy

# Iterations that are submitted but not yet completed. With two, the workers go on while the driver reads reports and
# writes metrics, and the number of calls in flight stays bounded.
PIPELINE_DEPTH = 2


class UpdatePipeline:
    """Submits iterations: rollouts of all collectors, an update that learns from them, and what is due after it.

    Iterations are submitted ahead: a collector's next rollout waits, inside Ray, for the weights of the update before.

    Args:
        config: The run's config.
        pool: The collectors.
        learners: The learner.
        recovery: Waits for a collector if none is up.
        evaluator: Submits evaluations.
        keeps_policies: Whether policies are exported at checkpoints and evaluations.

    Attributes:
        weights: Reference of the weights that the last submitted update makes.
        pending: The iterations that are under way, the oldest first.
    """

    def __init__(
        self,
        config: TrainConfig,
        pool: CollectorPool,
        learners: LearnerGroup,
        recovery: WorkerRecovery,
        evaluator: PoolEvaluator,
        keeps_policies: bool,
    ) -> None:
        self._config, self._pool, self._learners = config, pool, learners
        self._recovery, self._evaluator, self._keeps_policies = recovery, evaluator, keeps_policies
        self._checkpoint_clock = IntervalClock(
            Interval.of(config.checkpoint_every, "checkpoint_every"), time.monotonic()
        )
        eval_every = None if config.eval_every is None else Interval.of(config.eval_every, "eval_every")
        self._evaluation_clock = IntervalClock(eval_every, time.monotonic())
        self.weights: Any = None
        self.pending: deque[PendingUpdate] = deque()

    @property
    def evaluates_often(self) -> bool:
        """Whether evaluations are due during training."""
        return self._evaluation_clock.is_on

    @property
    def exported(self) -> tuple[str, ...]:
        """Names of the policies that are exported."""
        return ("policy", "collect_policy") if self._config.agent.deploys_collect_policy else ("policy",)

    @property
    def evaluated(self) -> tuple[EvaluatedPolicy, ...]:
        """Names of the policies that are evaluated."""
        return ("greedy", "stochastic") if self._config.agent.deploys_collect_policy else ("greedy",)

    def broadcast(
        self,
        weights: Any,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> list[Acknowledgement]:
        """Makes every collector that is up apply weights, and waits until all have done so.

        Args:
            weights: Reference of the weights, put once.
            tau: As in ``policy.update``.
            tau_non_trainable: As in ``policy.update``.
            sort_variables_by_name: As in ``policy.update``.

        Returns:
            One acknowledgement for each collector, in their order.
        """
        return calls.get(
            [
                handle.actor.apply_weights.remote(weights, tau, tau_non_trainable, sort_variables_by_name)
                for handle in self._pool.handles
            ],
            self._config.timeout_s,
        )

    def collect(
        self, weights: Any, count: int | None = None, last: Sequence[CollectorHandle] = ()
    ) -> list[PendingRollout]:
        """Makes collectors apply weights and collect rollouts. Waits only if no collector is up.

        Args:
            weights: Reference of the weights.
            count: Number of rollouts; None for one for each index of the pool. If there are more rollouts than
                collectors, the collectors take turns.
            last: Collectors whose turn comes after the others.
        """
        self._recovery.wait_for_handles()
        turns = sorted(self._pool.handles, key=lambda handle: handle in last)
        parts = []
        for index in range(self._pool.size if count is None else count):
            handle = turns[index % len(turns)]
            parts.append(PendingRollout(handle, *handle.actor.rollout.options(num_returns=2).remote(weights)))
        return parts

    def has_room(self, totals: TrainingTotals) -> bool:
        """Returns True if another iteration can be submitted, and the run needs it."""
        expected = totals.env_steps + len(self.pending) * self._config.batch_size
        return len(self.pending) < PIPELINE_DEPTH and expected < self._config.total_steps

    def submit(self, totals: TrainingTotals, kept: Sequence[PendingRollout] = ()) -> None:
        """Submits an iteration. It learns from the rollouts that were kept, and collects the others.

        Args:
            totals: The run's totals so far, without what is under way.
            kept: Rollouts of exactly the newest weights.
        """
        parts = [*kept, *self.collect(self.weights, self._pool.size - len(kept), [part.handle for part in kept])]
        # The share of the run before this update, which the first update of a schedule begins with in full. What is
        # in flight counts as whole batches.
        env_steps = totals.env_steps + len(self.pending) * self._config.batch_size
        progress = env_steps / self._config.total_steps
        self.weights, metrics = self._learners.update(progress, [part.rollout for part in parts])
        update = totals.updates + len(self.pending) + 1
        # The learner works in order, so state and policies are those right after this update.
        now = time.monotonic()
        saves, evaluates = self._checkpoint_clock.is_due(update, now), self._evaluation_clock.is_due(update, now)
        state = self._learners.state() if saves else None
        exports = self._keeps_policies and (saves or evaluates)
        policies = self._learners.export_policies(self.exported) if exports else None
        evaluation = None
        if evaluates:
            evaluation = self._evaluator.submit(self.weights, self._config.eval_episodes, self.evaluated)
        self.pending.append(PendingUpdate(update, parts, metrics, state, policies, evaluation))
