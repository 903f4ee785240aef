"""WorkerRecovery: replaces the workers of a training run that have died or hang."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from distpolicy.errors import DistPolicyError, WorkerLostError
from launch.supervision import calls
from launch.supervision.actor_errors import failed_in_constructor, is_death, reason_of_death
from launch.supervision.collector_handle import CollectorHandle
from launch.supervision.collector_pool import CollectorPool
from launch.supervision.faults import RunFault, collector_name, environment_fault
from launch.training.learner_group import LearnerGroup
from launch.training.observer import TrainingObserver
from launch.training.pending_update import PendingRollout, PendingUpdate, error_of, has_come, reports_or_errors
from workers.collection.rollout_report import RolloutReport

# Tolerated number of failures in a row, without an update in between: lost learners, and updates that fail although no
# worker was lost.
MAX_FAILURES = 5


class WorkerRecovery:
    """Finds out which workers have died, and starts others in their place.

    Args:
        pool: The collectors. The pool limits how often a collector is replaced.
        learners: The learner.
        generations: Returns a generation that no worker of the run has had.
        timeout_s: Seconds after which a worker that has not answered counts as lost.
        observer: Is told of faults and recoveries.
    """

    def __init__(
        self,
        pool: CollectorPool,
        learners: LearnerGroup,
        generations: Callable[[], int],
        timeout_s: float,
        observer: TrainingObserver,
    ) -> None:
        self._pool, self._learners, self._generations = pool, learners, generations
        self._timeout_s, self._observer = timeout_s, observer
        self._num_failures = 0

    def note_success(self) -> None:
        """Notes that an update was made, so earlier failures no longer count."""
        self._num_failures = 0

    def count_failure(self, error: DistPolicyError) -> None:
        """Counts a failure that is not the loss of a collector.

        Raises:
            DistPolicyError: The error, after too many failures in a row.
        """
        self._num_failures += 1
        if self._num_failures > MAX_FAILURES:
            raise error

    def wait_for_handles(self) -> None:
        """Admits collectors that have come up, and waits for one if there is none."""
        self.tell_recovered(self._pool.admit())
        if not self._pool.handles:
            self.tell_recovered(self._pool.wait_for_one())

    def tell_recovered(self, faults: Sequence[RunFault]) -> None:
        """Tells the observer of workers that have been replaced."""
        for fault in faults:
            self._observer.on_recovery(fault)

    def tell_environments(self, reports: Iterable[RolloutReport]) -> None:
        """Tells the observer of environments that failed and were replaced.

        Args:
            reports: The reports of rollouts that were not told of before.
        """
        for report in reports:
            name = collector_name(report.collector, report.generation)
            for fault in report.faults:
                self._observer.on_fault(environment_fault(name, fault))

    def tell_environments_of_unused(self, rollouts: Sequence[PendingRollout]) -> None:
        """Tells the observer of environments that failed in rollouts that nothing is learned from.

        Args:
            rollouts: The rollouts. Those that have not come, or hold an error, are left out.
        """
        found = reports_or_errors(rollouts)
        self.tell_environments(report for report in found if not isinstance(report, DistPolicyError))

    def lose(self, handle: CollectorHandle, reason: str, env_steps: int) -> None:
        """Ends a collector and schedules its replacement, unless that was done before.

        Args:
            handle: The collector.
            reason: The reason, in one line.
            env_steps: Env steps that are lost with it.

        Raises:
            DistPolicyError: If it was replaced too often.
        """
        fault = self._pool.lose(handle, reason, env_steps)
        if fault is not None:
            self._observer.on_fault(fault)

    def kill_late(self, rollouts: Sequence[PendingRollout], env_steps: int) -> None:
        """Kills the workers that have not answered in time, so that calls that wait for them fail.

        Args:
            rollouts: The rollouts that the oldest update waits for.
            env_steps: Env steps of one rollout.
        """
        late = [part for part in rollouts if not has_come(part.report)]
        for part in late:
            self.lose(part.handle, f"no answer in {self._timeout_s:g} s (timeout_s)", env_steps)
        if not late:
            for actor in self._learners.actors:
                calls.kill(actor)

    def wait_for_answers(self, iterations: Sequence[PendingUpdate], env_steps: int) -> None:
        """Waits until all answers of some updates have come, be they errors. Kills workers that do not answer in time.

        Args:
            iterations: The updates, the oldest first.
            env_steps: Env steps of one rollout.
        """
        references = [reference for iteration in iterations for reference in iteration.references]
        for _ in range(len(iterations) + 1):
            missing = self._missing_of(references)
            if not missing:
                return
            # What later updates wait for may be the weights of this one.
            behind = next(update for update in iterations if missing.intersection(update.references))
            self.kill_late(behind.parts, env_steps)

    def _missing_of(self, references: Sequence[Any]) -> set[Any]:
        """Returns the references without an answer, once none more has come within the timeout."""
        missing = list(references)
        while missing:
            come, missing = calls.wait(missing, len(missing), self._timeout_s)
            if not come:
                break
        return set(missing)

    def deaths_among(self, handles: Iterable[CollectorHandle]) -> dict[CollectorHandle, DistPolicyError]:
        """Returns those of some collectors that are dead, and the error that shows it."""
        asked = {handle: handle.actor.ping.remote() for handle in dict.fromkeys(handles)}
        calls.wait(list(asked.values()), len(asked), self._timeout_s)
        errors = {handle: error_of(reference) for handle, reference in asked.items()}
        return {handle: error for handle, error in errors.items() if error is not None and is_death(error)}

    def learner_death(self) -> DistPolicyError | None:
        """Returns the error that shows that the learner is dead; None if it is alive."""
        asked = [actor.ping.remote() for actor in self._learners.actors]
        calls.wait(asked, len(asked), self._timeout_s)
        return next((error for error in map(error_of, asked) if error is not None), None)

    def replace_learners(
        self,
        error: DistPolicyError,
        fault: RunFault,
        prepare: Callable[[], None],
    ) -> None:
        """Starts a new learner, and tries again if it dies as well.

        Args:
            error: The error that shows that the learner is dead.
            fault: The fault that the observer was told of.
            prepare: Restores the newest state in the new learner, and waits until the learner is up.

        Raises:
            DistPolicyError: If its constructor raises, or it was lost too often.
        """
        self._num_failures += 1
        while True:
            if failed_in_constructor(error):
                raise error
            if self._num_failures > MAX_FAILURES:
                raise WorkerLostError(
                    f"the learner was lost {self._num_failures} times in a row; the last time: {reason_of_death(error)}"
                ) from error
            self._learners.kill()
            self._learners.start(self._generations())
            try:
                prepare()
                break
            except DistPolicyError as another:
                if not is_death(another):
                    raise
                error = another
                self._num_failures += 1
        self._observer.on_recovery(fault.recovered())
