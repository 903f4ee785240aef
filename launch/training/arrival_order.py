"""ArrivalOrder: an update learns from the rollouts that come first, within the policy lag."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

from distpolicy.errors import DistPolicyError, InferenceLostError
from launch.supervision import calls
from launch.supervision.actor_errors import is_death, reason_of_death
from launch.supervision.collector_handle import CollectorHandle
from launch.supervision.own_ray import check_alive
from launch.training.pending_update import PendingRollout, PendingUpdate, has_come, reports_of, reports_or_errors
from launch.training.pipeline import PIPELINE_DEPTH, PipelineParts, UpdatePipeline
from launch.training.totals import TrainingTotals

# How often it looks whether Ray is still there, and whether a collector is late.
_LOOK_S = 1.0


@dataclasses.dataclass(slots=True, eq=False)
class _Asked:
    """A rollout that a collector is busy with, or that no update has learned from yet.

    Attributes:
        part: Its references.
        version: The version that acts, counted in updates of the run.
        since: When it was asked for, by the order's clock.
    """

    part: PendingRollout
    version: int
    since: float


class ArrivalOrder(UpdatePipeline):
    """A collector that is free acts by the newest finished weights, and an update takes the rollouts that came first.

    A slow collector so delays nobody, up to the policy lag: before an update is submitted, the rollouts that would be
    too old for the next one are awaited, or dropped when they come (``on_stale``). Not more rollouts are asked for than
    the updates within the lag can take. So those that are too old for the next update always fit into this one, and no
    row is ever older than ``max_policy_lag`` allows.
    """

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        self._in_flight: list[_Asked] = []
        self._arrived: list[_Asked] = []
        # Rollouts of before the learner was replaced that have not come yet. Nothing is learned from them.
        self._void: list[PendingRollout] = []
        # What collectors act by when they are asked next, and its version; -1 for that of the totals.
        self._acting: Any = None
        self._acting_version = -1
        self._num_dropped = 0
        # When the driver stopped to wait for rollouts, such as for an evaluation, and its seconds of doing so before.
        self._left: float | None = None
        self._away_s = 0.0

    def begin(self, weights: Any) -> None:
        """See :meth:`UpdatePipeline.begin`."""
        self._recovery.tell_environments_of_unused([asked.part for asked in self._arrived])
        self._void += [asked.part for asked in self._in_flight]
        for queue in (self.pending, self._in_flight, self._arrived):
            queue.clear()
        self._newest = self._acting = self._publish(weights)
        self._acting_version = -1

    def fill(self, totals: TrainingTotals) -> None:
        """See :meth:`UpdatePipeline.fill`."""
        if totals.env_steps >= self._config.total_steps:
            return
        self._recovery.wait_for_handles()
        while self._submit_if_ready(totals):
            pass
        busy = {asked.part.handle for asked in self._in_flight}
        free = [handle for handle in self._pool.handles if handle not in busy]
        version, now = max(self._acting_version, totals.updates), self._now()
        for handle in free[: self._num_needed(totals)]:
            self._in_flight.append(_Asked(self._ask(handle, self._acting), version, now))

    def oldest(self, totals: TrainingTotals, fills: bool) -> PendingUpdate | None:
        """See :meth:`UpdatePipeline.oldest`. Meanwhile, collectors that have become free are asked again."""
        if self._left is not None:
            self._away_s += time.monotonic() - self._left
            self._left = None
        since = self._now()
        try:
            needs_more = fills and totals.env_steps < self._config.total_steps
            while self.pending or needs_more:
                is_done = self._wait(since)
                if not self.pending:
                    # The learner has had nothing to answer so far.
                    since = self._now()
                if needs_more:
                    self.fill(totals)
                if is_done:
                    return self.pending[0]
            return None
        finally:
            self._left = time.monotonic()

    def _now(self) -> float:
        """Returns the seconds of a clock that stands still while the driver does not wait for rollouts.

        Collectors may play an evaluation meanwhile, which does not make them late.
        """
        return (time.monotonic() if self._left is None else self._left) - self._away_s

    @property
    def num_unused(self) -> int:
        """See :attr:`UpdatePipeline.num_unused`."""
        return len(self._arrived) + len(self._in_flight)

    def finish(self) -> None:
        """Removes the oldest update. Rollouts that are asked for from here on act by its weights."""
        if self.pending[0].update > self._acting_version:
            self._acting, self._acting_version = self.pending[0].weights, self.pending[0].update
        super().finish()

    def resubmit(
        self, totals: TrainingTotals, weights: Any, lost: Sequence[PendingUpdate], kept: Sequence[PendingRollout]
    ) -> None:
        """See :meth:`UpdatePipeline.resubmit`. The rollouts that are kept wait for the next update again."""
        self._newest = self._acting = self._publish(weights)
        self._acting_version = totals.updates + len(self.pending)
        up = self._pool.handles
        self._in_flight = [asked for asked in self._in_flight if asked.part.handle in up]
        again = [_Asked(part, self._version_of(part), 0.0) for update in lost for part in update.parts if part in kept]
        self._arrived = [*again, *self._arrived]

    def metrics(self) -> dict[str, float]:
        """Returns the number of rollouts in flight, and of the rows that were dropped since the last update."""
        dropped, self._num_dropped = self._num_dropped, 0
        return {"rollouts_in_flight": float(len(self._in_flight)), "rows_dropped": float(dropped)}

    def _version_of(self, part: PendingRollout) -> int:
        (report,) = reports_of([part], self._config.timeout_s)
        return 0 if report.weights is None else int(report.weights.version)

    def _num_needed(self, totals: TrainingTotals) -> int:
        """Returns how many more rollouts the updates within the policy lag, and within the run, can take."""
        config, size = self._config, self._pool.size
        waiting = len(self._in_flight) + len(self._arrived)
        asked = waiting + len(self.pending) * size
        within_run = max(math.ceil((config.total_steps - totals.env_steps) / config.steps_per_rollout) - asked, 0)
        # The last update takes a whole batch.
        within_run += -(waiting + within_run) % size
        return max(min(size * (config.max_policy_lag + 1) - asked, within_run), 0)

    def _submit_if_ready(self, totals: TrainingTotals) -> bool:
        """Submits the next update if its rollouts are there; returns True if it did."""
        # The version that learns in the next update, and the oldest one that may act in it.
        learning = totals.updates + len(self.pending)
        oldest = learning - self._config.max_policy_lag
        self._drop_older(oldest)
        size = self._pool.size
        if len(self._arrived) < size or not self._has_room(totals, PIPELINE_DEPTH):
            return False
        if self._config.on_stale == "wait" and any(asked.version <= oldest for asked in self._in_flight):
            return False
        # Sorted by version, and stably: of one version, those that came first.
        self._arrived.sort(key=lambda asked: asked.version)
        taken, self._arrived = self._arrived[:size], self._arrived[size:]
        self._submit_update(totals, [asked.part for asked in taken])
        return True

    def _drop_older(self, oldest: int) -> None:
        dropped = [asked for asked in self._arrived if asked.version < oldest]
        if not dropped:
            return
        self._num_dropped += len(dropped) * self._config.envs_per_collector
        self._arrived = [asked for asked in self._arrived if asked.version >= oldest]
        self._recovery.tell_environments_of_unused([asked.part for asked in dropped])
        for asked in dropped:
            # Its collector works, although nothing is learned from it.
            self._pool.delivered(asked.part.handle)

    def _look_at_void(self) -> None:
        """Tells of environments that failed in rollouts that the learner's end has made void, once these come."""
        come = [part for part in self._void if has_come(part.report)]
        if come:
            self._void = [part for part in self._void if part not in come]
            self._recovery.tell_environments_of_unused(come)

    def _wait(self, since: float) -> bool:
        """Waits until a rollout or the oldest update comes, and takes in the rollouts that have come.

        Returns:
            Whether the oldest update has come.

        Raises:
            DistPolicyError: If a collector raised an error, or the learner does not answer.
        """
        references = [asked.part.report for asked in self._in_flight]
        oldest = self.pending[0].metrics if self.pending else None
        if oldest is not None:
            references.append(oldest)
        come = set(calls.wait(references, len(references), 0.0)[0] or calls.wait(references, 1, _LOOK_S)[0])
        if not come:
            check_alive()
        self._look_at_void()
        done = [asked for asked in self._in_flight if asked.part.report in come]
        if done:
            self._in_flight = [asked for asked in self._in_flight if asked.part.report not in come]
            self._take(done)
        if oldest in come:
            return True
        self._look_for_late(since)
        return False

    def _take(self, done: Sequence[_Asked]) -> None:
        """Takes in rollouts, and has collectors that died replaced.

        Raises:
            DistPolicyError: The first error that is not the death of a collector, such as a lost inference server.
        """
        others = []
        for asked, found in zip(done, reports_or_errors([asked.part for asked in done]), strict=True):
            if not isinstance(found, DistPolicyError):
                asked.part = PendingRollout(asked.part.handle, asked.part.rollout, asked.part.report, found)
                self._arrived.append(asked)
                continue
            # If the server still answers, this collector has missed an answer, and stopped in the middle of a step.
            by_server = isinstance(found, InferenceLostError) and self._server is not None and self._server.is_lost()
            if is_death(found) and not by_server:
                self._lose(asked.part.handle, reason_of_death(found))
            else:
                others.append(found)
        if others:
            raise others[0]

    def _lose(self, handle: CollectorHandle, reason: str) -> None:
        """Has a collector replaced; what it has delivered stays."""
        self._recovery.lose(handle, reason, self._config.steps_per_rollout)
        self._in_flight = [asked for asked in self._in_flight if asked.part.handle is not handle]

    def _look_for_late(self, since: float) -> None:
        """Replaces collectors that have not answered in time. Raises an error if it is the learner."""
        timeout_s, now = self._config.timeout_s, self._now()
        for asked in list(self._in_flight):
            if now - asked.since > timeout_s:
                self._lose(asked.part.handle, f"no answer in {timeout_s:g} s (timeout_s)")
        if self.pending and now - since > timeout_s:
            calls.get(self.pending[0].metrics, 0.0)
