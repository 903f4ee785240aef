"""UpdatePipeline: keeps rollouts and updates of a training run under way."""

from __future__ import annotations

import abc
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from distpolicy.weights import Acknowledgement
from launch.config.interval import Interval, IntervalClock
from launch.config.train import TrainConfig
from launch.signals import held
from launch.supervision import calls
from launch.supervision.collector_handle import CollectorHandle
from launch.supervision.collector_pool import CollectorPool
from launch.training.evaluation import PoolEvaluator
from launch.training.keeping import RunKeeper
from launch.training.learner_group import LearnerGroup
from launch.training.pending_update import PendingRollout, PendingUpdate, num_missing
from launch.training.policy_server import PolicyServer
from launch.training.recovery import WorkerRecovery
from launch.training.totals import TrainingTotals
from workers.collection.evaluator import EvaluatedPolicy

# Updates beside those of the policy lag that are submitted but not yet completed. With two, the workers go on while the
# driver reads reports and writes metrics, and the number of calls in flight stays bounded.
PIPELINE_DEPTH = 2


class PipelineParts(NamedTuple):
    """What a pipeline works with.

    Attributes:
        config: The run's config.
        pool: The collectors.
        learners: The learner.
        recovery: Waits for a collector if none is up, and replaces those that die.
        evaluator: Submits evaluations.
        keeper: Says what of the learner's state is saved already, and whether policies are exported.
        server: The inference server; None if collectors compute actions themselves.
    """

    config: TrainConfig
    pool: CollectorPool
    learners: LearnerGroup
    recovery: WorkerRecovery
    evaluator: PoolEvaluator
    keeper: RunKeeper
    server: PolicyServer | None = None


class UpdatePipeline(abc.ABC):
    """Submits rollouts, the updates that learn from them, and what is due after those.

    It moves references, never data. A subclass says which collector collects when, and by which weights.

    Args:
        parts: What it works with.

    Attributes:
        pending: The updates that are under way, the oldest first.
    """

    def __init__(self, parts: PipelineParts) -> None:
        config = parts.config
        self._config, self._pool, self._learners = config, parts.pool, parts.learners
        self._recovery, self._evaluator, self._keeper = parts.recovery, parts.evaluator, parts.keeper
        self._checkpoint_clock = IntervalClock(
            Interval.of(config.checkpoint_every, "checkpoint_every"), time.monotonic()
        )
        eval_every = None if config.eval_every is None else Interval.of(config.eval_every, "eval_every")
        self._evaluation_clock = IntervalClock(eval_every, time.monotonic())
        self._ends_by_evaluation = config.target_return is not None and config.ends_by_evaluation
        self._server = parts.server
        self._newest: Any = None
        self.pending: deque[PendingUpdate] = deque()

    @property
    def weights(self) -> Any:
        """Reference of the weights that the last submitted update makes, as collectors take them.

        With an inference server it is their name, and comes when the server holds them.
        """
        return self._newest

    def _publish(self, weights: Any) -> Any:
        """Returns what collectors take for weights: these themselves, or their name on the server."""
        return weights if self._server is None else self._server.hold(weights)

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

    @abc.abstractmethod
    def begin(self, weights: Any) -> None:
        """Drops all that is under way, and goes on from these weights.

        Args:
            weights: Reference of the weights of the last completed update.
        """

    @abc.abstractmethod
    def fill(self, totals: TrainingTotals) -> None:
        """Submits all that there is room for and that the run needs. Waits only if no collector is up.

        Args:
            totals: The run's totals so far, without what is under way.
        """

    @abc.abstractmethod
    def oldest(self, totals: TrainingTotals, fills: bool) -> PendingUpdate | None:
        """Returns the oldest update that is under way, as soon as it is worth waiting for its answers alone.

        Args:
            totals: As for :meth:`fill`.
            fills: Whether to submit more meanwhile.

        Returns:
            The update; None if nothing is under way.

        Raises:
            DistPolicyError: If a worker fails.
        """

    @abc.abstractmethod
    def resubmit(
        self, totals: TrainingTotals, weights: Any, lost: Sequence[PendingUpdate], kept: Sequence[PendingRollout]
    ) -> None:
        """Submits lost updates again. :attr:`pending` holds those before them.

        Args:
            totals: As for :meth:`fill`.
            weights: Reference of the weights of the last update that was not lost.
            lost: The updates that have failed, in their order.
            kept: Their rollouts that are still available.
        """

    @property
    def num_unused(self) -> int:
        """Number of rollouts, complete or under way, that no update was submitted for yet."""
        return 0

    @abc.abstractmethod
    def metrics(self) -> dict[str, float]:
        """Returns metrics of what is under way."""

    def give_up(self, count: int) -> None:
        """Removes the newest updates, which have failed. What was due after them by the clock is due again.

        Args:
            count: How many.
        """
        for update in [self.pending.pop() for _ in range(count)]:
            if update.state is not None:
                self._checkpoint_clock.repeat()
            if update.evaluation is not None:
                self._evaluation_clock.repeat()

    def finish(self) -> None:
        """Removes the oldest update, which counts from here on."""
        self.pending.popleft()

    def _has_room(self, totals: TrainingTotals, max_pending: int) -> bool:
        """Returns True if another update can be submitted, and the run needs it.

        A run that an evaluation can end makes no update beyond an evaluated one before its result is there: the last
        policy is to be the one that has reached the target. A lock step loses nothing, since its collectors play the
        evaluation meanwhile.
        """
        if self._ends_by_evaluation and any(update.evaluation is not None for update in self.pending):
            return False
        expected = totals.steps + len(self.pending) * self._config.steps_per_update
        return len(self.pending) < max_pending and expected < self._config.total_steps

    def _ask(self, handle: CollectorHandle, weights: Any) -> PendingRollout:
        """Asks a collector for a rollout by these weights."""
        return PendingRollout(handle, *handle.actor.rollout.options(num_returns=2).remote(weights))

    def _submit_update(self, totals: TrainingTotals, parts: Sequence[PendingRollout]) -> None:
        """Submits an update that learns from these rollouts, and what is due after it."""
        # The share of the run before this update, which the first update of a schedule begins with in full. What is
        # in flight counts as whole batches.
        steps = totals.steps + len(self.pending) * self._config.steps_per_update
        progress = steps / self._config.total_steps
        before = self.pending[-1].metrics if self.pending else None
        update = totals.updates + len(self.pending) + 1
        # An interrupt comes before an update or after it: the learner's state and the list of updates then agree. In a
        # serial run, the update is made here.
        with held():
            weights, metrics = self._learners.update(progress, [part.rollout for part in parts], before)
            self._newest = self._publish(weights)
            self.pending.append(PendingUpdate(update, parts, self._newest, metrics))
        # The learner works in order, so state and policies are those right after this update.
        now = time.monotonic()
        saves, evaluates = self._checkpoint_clock.is_due(update, now), self._evaluation_clock.is_due(update, now)
        state = self._learners.state(self._keeper.kept_parts) if saves else None
        exports = self._keeper.keeps_policies and (saves or evaluates)
        policies = self._learners.export_policies(self.exported) if exports else None
        evaluation = None
        if evaluates:
            evaluation = self._evaluator.submit(self._newest, self._config.eval_episodes, self.evaluated)
        self.pending[-1] = self.pending[-1]._replace(state=state, policies=policies, evaluation=evaluation)


class FixedOrder(UpdatePipeline):
    """Every collector brings one rollout to every update, and acts by the version ``max_policy_lag`` before it.

    A collector's next rollout waits, inside Ray, for its weights. So which weights act depends on the number of the
    update alone: a run's data are the same whatever the timing.
    """

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        # The weights that later rollouts act by, the oldest first.
        self._acting: deque[Any] = deque(maxlen=self._config.max_policy_lag + 1)

    def begin(self, weights: Any) -> None:
        """See :meth:`UpdatePipeline.begin`."""
        self.pending.clear()
        self._acting.clear()
        self._newest = self._publish(weights)
        self._acting.append(self._newest)

    def fill(self, totals: TrainingTotals) -> None:
        """See :meth:`UpdatePipeline.fill`."""
        while self._has_room(totals, PIPELINE_DEPTH + self._config.max_policy_lag):
            self._submit(totals)

    def oldest(self, totals: TrainingTotals, fills: bool) -> PendingUpdate | None:
        """Returns the oldest update at once."""
        return self.pending[0] if self.pending else None

    def resubmit(
        self, totals: TrainingTotals, weights: Any, lost: Sequence[PendingUpdate], kept: Sequence[PendingRollout]
    ) -> None:
        """See :meth:`UpdatePipeline.resubmit`. What is missing is collected by the newest weights."""
        self._acting.clear()
        self._newest = self._publish(weights)
        self._acting.append(self._newest)
        # Without lag, no collector has begun a later update's rollout.
        for update in lost if self._config.max_policy_lag else lost[:1]:
            self._submit(totals, [part for part in update.parts if part in kept])

    def metrics(self) -> dict[str, float]:
        """Returns the number of rollouts in flight."""
        return {"rollouts_in_flight": float(num_missing([part for update in self.pending for part in update.parts]))}

    def _submit(self, totals: TrainingTotals, kept: Sequence[PendingRollout] = ()) -> None:
        """Submits an update that learns from the rollouts that were kept, and from others that are collected now."""
        missing = self._collect(self._pool.size - len(kept), [part.handle for part in kept])
        self._submit_update(totals, [*kept, *missing])
        self._acting.append(self._newest)

    def _collect(self, count: int, last: Sequence[CollectorHandle]) -> list[PendingRollout]:
        """Asks for rollouts. If there are more rollouts than collectors, the collectors take turns.

        Args:
            count: Number of rollouts.
            last: Collectors whose turn comes after the others.
        """
        self._recovery.wait_for_handles()
        turns = sorted(self._pool.handles, key=lambda handle: handle in last)
        return [self._ask(turns[index % len(turns)], self._acting[0]) for index in range(count)]
