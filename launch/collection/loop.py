"""CollectionLoop: asks collectors for rollouts until all slots are at their limits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import ray

from distpolicy.errors import DistPolicyError, EnvironmentCrashedError
from launch.collection.dataset import GrowingDataset
from launch.collection.observer import CollectionObserver
from launch.collection.progress import CollectionProgress, progress_of
from launch.collection.totals import CollectionTotals
from launch.collection.workers import CollectionWorkers
from launch.output.recent_speed import RecentSpeed
from launch.supervision import calls
from launch.supervision.actor_errors import is_death, is_late, reason_of_death
from launch.supervision.collector_handle import MAX_PENDING_CALLS, CollectorHandle
from launch.supervision.faults import RunFault, environment_fault, note_fault
from workers.datasets.collector import DatasetReport
from workers.datasets.files import faults_folder
from workers.datasets.shard_journal import ShardRecord

# How long an interrupted job waits for collectors. They have up to two rollouts to finish before they can answer. The
# command has to end within ten seconds, whatever a rollout takes.
_HURRY_S = 4.0
_MAX_HURRY_S = 6.0
_HURRY_ROLLOUTS = 3.0


class CollectionLoop:
    """Collects with a pool whose collectors are up. Iterating over it yields the progress after every answer.

    Args:
        dataset: The dataset to add to.
        workers: The workers.
        timeout_s: Seconds after which a collector that has not answered counts as lost.
        observer: Is told of faults.

    Attributes:
        totals: The totals of each collector.
    """

    def __init__(
        self, dataset: GrowingDataset, workers: CollectionWorkers, timeout_s: float, observer: CollectionObserver
    ) -> None:
        self._dataset, self._workers, self._pool = dataset, workers, workers.pool
        self._timeout_s, self._observer = timeout_s, observer
        self.totals = [CollectionTotals() for _ in range(self._pool.size)]
        # Collectors whose slots are at their limits, but whose last shards are not finished yet.
        self._drained: set[CollectorHandle] = set()
        self._is_stopped = False
        self._longest_rollout_s = 0.0

    def __iter__(self) -> Iterator[CollectionProgress]:
        """Collects until everything is collected or :meth:`stop` is called.

        Raises:
            DistPolicyError: If a collector raised an error.
            EnvironmentCrashedError: If a collector hung and has been replaced too often.
            WorkerLostError: If a collector has been replaced too often for other reasons, or none comes up.
        """
        start, speed = time.monotonic(), RecentSpeed(0.0)
        while not (self.is_finished or self._is_stopped):
            self._tell_recovered(self._pool.admit() if self._pool.handles else self._pool.wait_for_one())
            for handle in self._pool.handles:
                self._ask(handle)
            for handle in self._pool.ready():
                self._take_answer(handle)
                num_bytes = self._dataset.num_bytes
                yield progress_of(self.totals, self._dataset.before, num_bytes, time.monotonic() - start, speed)
            for handle in self._pool.handles:
                if handle.waiting_s > self._timeout_s:
                    self._lose(handle, f"no answer in {self._timeout_s:g} s (timeout_s)")

    @property
    def is_finished(self) -> bool:
        """True if everything is collected and in finished shards."""
        return self._pool.is_retired

    def stop(self) -> None:
        """Ends the iteration after the answers that have come."""
        self._is_stopped = True

    def flush(self, in_a_hurry: bool = False) -> None:
        """Has all collectors that are alive finish their shards.

        Args:
            in_a_hurry: Whether to wait for seconds only, or for the time that collectors have taken for a few rollouts
                if that is a little longer, instead of ``timeout_s``. Those that do not answer in time count as lost.

        Raises:
            DistPolicyError: If a collector raised an error.
        """
        timeout_s = self._timeout_s
        if in_a_hurry:
            timeout_s = min(max(_HURRY_S, _HURRY_ROLLOUTS * self._longest_rollout_s), _MAX_HURRY_S, timeout_s)
        deadline = time.monotonic() + timeout_s
        asked = [(handle, handle.actor.flush.remote()) for handle in self._pool.handles]
        for handle, answer in asked:
            try:
                self._add(handle, calls.get(answer, max(deadline - time.monotonic(), 0.1)))
            except DistPolicyError as error:
                if not (is_death(error) or (in_a_hurry and is_late(error))):
                    raise
                self._give_up(handle, f"no answer in {timeout_s:.0f} s" if is_late(error) else "", error)

    def _give_up(self, handle: CollectorHandle, reason: str, error: DistPolicyError) -> None:
        """Notes that a collector is lost at the end of the job, with what it had not made whole."""
        ray.kill(handle.actor)
        loss = self._workers.explain(handle, reason or reason_of_death(error))
        num_lost = self.totals[handle.index].take_back()
        fault = RunFault(str(handle), loss.reason, num_lost, name=handle.name, stacks=loss.stacks)
        self._dataset.remove_unnamed(handle.name)
        self._tell_fault(fault, str(error.__cause__))

    def _ask(self, handle: CollectorHandle) -> None:
        """Makes calls until a collector has as many pending as it may."""
        if handle not in self._drained:
            while handle.num_pending < MAX_PENDING_CALLS:
                handle.call("collect")
        elif not handle.num_pending:
            handle.call("flush")

    def _take_answer(self, handle: CollectorHandle) -> None:
        try:
            answer: DatasetReport | list[ShardRecord] = handle.take_answer(self._timeout_s)
        except DistPolicyError as error:
            if not is_death(error):
                raise
            self._lose(handle, reason_of_death(error), str(error.__cause__))
            return
        if isinstance(answer, DatasetReport):
            self._account(handle, answer)
        else:
            self._add(handle, answer)
            self._pool.retire(handle)

    def _account(self, handle: CollectorHandle, report: DatasetReport) -> None:
        self.totals[handle.index].add(report)
        self._longest_rollout_s = max(self._longest_rollout_s, report.env_s + report.policy_s)
        for fault in report.faults:
            self._tell_fault(environment_fault(handle.name, fault))
        self._add(handle, report.shards)
        if report.finished:
            self._drained.add(handle)

    def _add(self, handle: CollectorHandle, records: Sequence[ShardRecord]) -> None:
        totals, num_slots = self.totals[handle.index], len(handle.slots)
        num_before = totals.num_whole_rows // num_slots
        totals.settle(self._dataset.add(records))
        # Only rows in finished shards count as progress: otherwise a collector that always fails would be replaced for
        # ever.
        self._pool.delivered(handle, totals.num_whole_rows // num_slots - num_before)

    def _lose(self, handle: CollectorHandle, reason: str, ray_text: str = "") -> None:
        """Replaces a collector, and subtracts the rows that were lost with it.

        Raises:
            EnvironmentCrashedError: If it hung, and its restart budget is used up.
            WorkerLostError: If it died for another reason, and its restart budget is used up.
        """
        num_lost = self.totals[handle.index].take_back()
        try:
            if self._dataset.is_complete(handle.slots):
                self._pool.retire(handle)
                return
            fault = self._pool.lose(handle, reason, num_lost)
        except DistPolicyError as error:
            trace = error.traceback if isinstance(error, EnvironmentCrashedError) else ray_text
            note_fault(faults_folder(self._dataset.folder), handle.name, str(error), trace)
            raise
        finally:
            self._dataset.remove_unnamed(handle.name)
        if fault is not None:
            self._tell_fault(fault, ray_text)

    def _tell_fault(self, fault: RunFault, ray_text: str = "") -> None:
        note_fault(faults_folder(self._dataset.folder), fault.name, fault.line, fault.stacks or ray_text)
        self._observer.on_fault(fault)

    def _tell_recovered(self, faults: Sequence[RunFault]) -> None:
        for fault in faults:
            self._observer.on_recovery(fault)
