"""Trainer: the loop that puts collectors and learner together. It moves references, never data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import ray

from distpolicy.errors import CheckpointError, DistPolicyError
from launch.config.train import TrainConfig
from launch.supervision import calls
from launch.supervision.actor_errors import is_death, is_late, lacks_argument, reason_of_death
from launch.supervision.collector_handle import CollectorHandle
from launch.supervision.collector_pool import CollectorPool
from launch.supervision.faults import RunFault
from launch.training.arrival_order import ArrivalOrder
from launch.training.checkpoint_store import Checkpoint
from launch.training.dataset_order import DatasetOrder
from launch.training.evaluation import PoolEvaluator, best_return, evaluation_metrics
from launch.training.keeping import Checkpoints, Policies, RunKeeper
from launch.training.learner_group import LearnerGroup
from launch.training.observer import TrainingObserver
from launch.training.pending_update import (
    PendingEvaluation,
    PendingUpdate,
    error_of,
    find_failures,
    reports_of,
)
from launch.training.pipeline import FixedOrder, PipelineParts, UpdatePipeline
from launch.training.policy_server import PolicyServer
from launch.training.recovery import WorkerRecovery
from launch.training.totals import TotalsTracker, TrainingTotals, UpdateResult
from workers.collection.evaluator import EvaluatedPolicy, EvaluationResult
from workers.learning.learner import transitions_left_out

# Seconds that an interrupted run waits for the updates under way, and then for the learner's state. The time of the
# last update is added twice: the learner may have begun two updates.
GRACE_S = 3.0

# Seconds that an interrupted run waits for the policies' files.
EXPORT_GRACE_S = 20.0


_Result = TypeVar("_Result")


class Trainer:
    """A training loop on Ray.

    Updates and rollouts are submitted ahead. With ``max_policy_lag`` 0 each update learns from rollouts of exactly the
    newest weights, for which a collector's next rollout waits inside Ray. With L above 0, rollouts act by weights of up
    to L versions before; see :class:`launch.training.pipeline.FixedOrder` and
    :class:`launch.training.arrival_order.ArrivalOrder`.

    An update learns from as many rollouts as the pool has indices. If collectors are missing, the others collect
    several rollouts each, so that the shape of the batch stays the same. If a collector dies, the complete rollouts are
    kept, the missing ones are collected by the newest weights, and the updates that lacked them are submitted again: no
    rollout is counted twice, and no other rollout is lost. If the learner dies, a new one with a higher generation
    continues from the newest checkpoint, and rollouts under way are dropped.

    Args:
        config: The run's config.
        pool: The collectors.
        learners: The learner.
        generations: Returns a generation that no worker of the run has had.
        checkpoints: Saves states of the learner, and gives the newest one back if the learner is lost.
        observer: Is told of all events.
        totals: The totals to begin with.
        policies: Takes the policies at every checkpoint, and those that an evaluation finds the best; None if they
            are not kept.
        server: The inference server; None if collectors compute actions themselves.
    """

    def __init__(
        self,
        config: TrainConfig,
        pool: CollectorPool,
        learners: LearnerGroup,
        generations: Callable[[], int],
        checkpoints: Checkpoints,
        observer: TrainingObserver | None = None,
        totals: TrainingTotals | None = None,
        policies: Policies | None = None,
        server: PolicyServer | None = None,
    ) -> None:
        self._config, self._pool, self._learners = config, pool, learners
        self._generations = generations
        self._observer = observer or TrainingObserver()
        self._totals = TotalsTracker(config, totals or TrainingTotals())
        self._keeper = RunKeeper(checkpoints, policies, self._totals, self._observer)
        self._recovery = WorkerRecovery(pool, learners, generations, config.timeout_s, self._observer)
        self._evaluator = PoolEvaluator(config, pool, self._recovery, lambda: learners.policy_program("greedy"))
        parts = PipelineParts(config, pool, learners, self._recovery, self._evaluator, self._keeper, server)
        self._pipeline = _pipeline(parts)
        self._server = server
        self._is_stopped = False
        self._last_update_s = 0.0
        # Collectors that were lost and replaced while the workers started; the observer is told when training begins.
        self._recovered_at_start: list[RunFault] = []
        # The totals that the learner goes back to if there is no checkpoint yet.
        self._first = self.totals
        # Folder of the checkpoint that it began from. What that holds is read again when it is needed.
        self._began_from: Path | None = None
        # Transitions that the state at the start leaves out; the observer is told when training begins.
        self._left_out_at_start = 0

    @property
    def totals(self) -> TrainingTotals:
        """The run's totals so far."""
        return self._totals.totals

    def train_s_at(self, clock_s: float) -> float:
        """Returns the seconds of training up to a clock time of this start, over all starts of the run."""
        return self._totals.train_s_at(clock_s)

    @property
    def pipeline(self) -> UpdatePipeline:
        """The iterations that are under way, and the newest weights."""
        return self._pipeline

    @property
    def handles(self) -> list[CollectorHandle]:
        """The collectors that are up."""
        return self._pool.handles

    @property
    def learners(self) -> LearnerGroup:
        """The learner."""
        return self._learners

    @property
    def server(self) -> PolicyServer | None:
        """The inference server; None if collectors compute actions themselves."""
        return self._server

    def start(self, checkpoint: Checkpoint | None = None) -> None:
        """Starts the workers, restores the learner if there is a checkpoint, and compiles the update.

        Returns when enough collectors are up to begin.

        Args:
            checkpoint: The newest one of the run's checkpoints; None to begin anew.

        Raises:
            ConfigError: If the checkpoint belongs to another architecture.
            WorkerLostError: If the learner or collectors do not come up.
        """
        # All start at once. The learner builds the policy while collectors make their environments.
        generation = self._generations()
        self._learners.start(generation)
        self._pool.start(generation)
        self._first = self.totals
        self._began_from = None if checkpoint is None else checkpoint.path
        self._left_out_at_start = _transitions_left_out(checkpoint)
        self._totals.lose_replay(self._left_out_at_start)
        self._prepare_learners(checkpoint)
        self._recovered_at_start = self._pool.begin()

    def _prepare_learners(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is not None:
            # One after the other: a replay buffer may take most of the memory.
            for segment in checkpoint.segments():
                self.get(self._learners.take_part(segment))
            self.get(self._learners.restore(checkpoint.state))
        self._pipeline.begin(self._learners.weights())
        self._warm_up = self._learners.warm_up(
            self._config.collectors * self._config.envs_per_collector, self._config.rollout_steps
        )

    def get(self, references: Any) -> Any:
        """Calls ``ray.get`` with the run's timeout, and raises this package's errors."""
        return calls.get(references, self._config.timeout_s)

    def updates(self) -> Iterator[UpdateResult]:
        """Trains until the target or the step budget is reached, or :meth:`stop` was called.

        Yields:
            The result of each update. There is a checkpoint of the last update when the iteration ends.

        Raises:
            DistPolicyError: If a worker raised an error.
            WorkerLostError: If workers die faster than they can be replaced.
        """
        self._recovery.tell_recovered(self._recovered_at_start)
        self._tell_replay_lost(self._left_out_at_start)
        while True:
            goes_on = not (self._is_stopped or self.totals.solved)
            if goes_on:
                self._pipeline.fill(self.totals)
            try:
                update = self._pipeline.oldest(self.totals, fills=goes_on)
                if update is None:
                    if not self._keeper.is_up_to_date:
                        self._save_newest()
                    return
                result = self._complete_update(update)
            except DistPolicyError as error:
                self._recover(error)
            else:
                yield result

    def _tell_replay_lost(self, num_transitions: int) -> None:
        if num_transitions:
            self._observer.on_replay_lost(num_transitions)

    def stop(self) -> None:
        """Ends training after the updates that are under way."""
        self._is_stopped = True

    def _complete_update(self, update: PendingUpdate) -> UpdateResult:
        """Waits for the oldest update, evaluates it and saves a checkpoint if they are due."""
        result = self._settle(update)
        # From here on the update counts, whatever becomes of its evaluation.
        self._pipeline.finish()
        evaluated = [] if update.evaluation is None else self._settle_evaluation(update.update, update.evaluation)
        result = self._tell_update(result, evaluation_metrics(evaluated))
        for one in evaluated:
            self._observer.on_evaluation(one, self.totals)
        if evaluated:
            self._totals.solve_by_evaluation(best_return(evaluated))
            self._keeper.keep_if_best(evaluated, lambda: self.get(update.policies))
        if update.state is not None:
            self._keeper.save(self.get(update.state), None if update.policies is None else self.get(update.policies))
        return result

    def _tell_update(self, result: UpdateResult, more: Mapping[str, float]) -> UpdateResult:
        """Tells the observer of an update; returns the result with the metrics that it measures."""
        self._recovery.tell_environments(result.reports)
        metrics = {**result.metrics, **self._pipeline.metrics(), **more}
        result = result._replace(metrics={**metrics, **self._observer.measure(result._replace(metrics=metrics))})
        self._observer.on_update(result)
        return result

    def _settle_evaluation(self, update: int, evaluation: PendingEvaluation) -> list[EvaluationResult]:
        """Waits for an evaluation. Returns no results if it failed: training goes on without it.

        Its weights may be lost with their node, or its environments fail more often than their budget allows.
        """
        try:
            return self._evaluator.settle(evaluation)
        except DistPolicyError as error:
            if not isinstance(error.__cause__, ray.exceptions.RayTaskError):
                raise
            reason = reason_of_death(error)
            self._observer.on_fault(RunFault(f"the evaluation of update {update}", reason, happened="was left out"))
            return []

    def _save_newest(self) -> None:
        exports = self._keeper.keeps_policies
        policies = self.get(self._learners.export_policies(self._pipeline.exported)) if exports else None
        self._keeper.save(self.learner_state(), policies)

    def _settle(self, iteration: PendingUpdate) -> UpdateResult:
        # First the rollouts: the learner's time begins when they are there.
        reports = reports_of(iteration.parts, self._config.timeout_s)
        metrics = self.get(iteration.metrics)
        self._recovery.note_success()
        self._evaluator.note_rollouts(reports)
        self._last_update_s = float(metrics.get("update_s", 0.0))
        for part in iteration.parts:
            self._pool.delivered(part.handle)
        return self._totals.add(reports, metrics)

    def _recover(self, error: DistPolicyError) -> None:
        """Replaces workers that have died or hang, and submits the lost work again.

        Raises:
            DistPolicyError: If replacing a worker does not help against the error.
        """
        if error.__cause__ is None or not isinstance(error.__cause__, ray.exceptions.RayError):
            raise error
        iterations = list(self._pipeline.pending)
        if is_late(error):
            self._recovery.kill_late(iterations[0].parts if iterations else [], self._config.steps_per_rollout)
        self._recovery.wait_for_answers(iterations, self._config.steps_per_rollout)
        death = self._recovery.learner_death()
        if death is not None:
            self._replace_learners(death, iterations)
            return
        self._submit_again(error, iterations, self._drop_lost_server())

    def _submit_again(self, error: DistPolicyError, iterations: Sequence[PendingUpdate], has_new_server: bool) -> None:
        """Replaces collectors that have died, and submits the updates again that have failed.

        Args:
            error: What has shown that there was a failure.
            iterations: The updates that are under way; all answers have come.
            has_new_server: Whether the inference server was lost.

        Raises:
            DistPolicyError: If this does not help against the error.
        """
        # The updates before the first one that has failed are complete.
        failed = [index for index, iteration in enumerate(iterations) if error_of(iteration.metrics) is not None]
        if not (failed or has_new_server):
            raise error
        lost = iterations[failed[0] :] if failed else []
        dead, kept, gone = find_failures(lost)
        # A collector that was ahead of the learner was not at work when its node went.
        dead |= self._recovery.deaths_among(part.handle for part in gone if part.handle not in dead)
        if not (dead or has_new_server):  # The pool limits the number of lost collectors.
            self._recovery.count_failure(error)
        for handle, its_error in dead.items():
            # One that it was collecting, and those that were lost with its node.
            missing = [part for part in lost[0].parts if part.handle is handle and part not in (*kept, *gone)]
            missing += [part for part in gone if part.handle is handle]
            self._recovery.lose(handle, reason_of_death(its_error), len(missing) * self._config.steps_per_rollout)
        self._pipeline.give_up(len(lost))
        used = kept if dead else ()
        unused = [part for update in lost for part in update.parts if part not in used]
        self._recovery.tell_environments_of_unused(unused)
        # The weights after the last completed update; the old reference may be lost with its node.
        self._pipeline.resubmit(self.totals, self._learners.weights(), lost, used)

    def _drop_lost_server(self) -> bool:
        """Gives up the collectors of an inference server that is lost; others begin with a new server.

        Returns:
            Whether it was lost.
        """
        if self._server is None or not self._server.drop_if_lost():
            return False
        for handle in self._pool.handles:
            self._recovery.lose(handle, "its inference server was lost", self._config.steps_per_rollout)
        return True

    def _replace_learners(self, error: DistPolicyError, iterations: Sequence[PendingUpdate]) -> None:
        """Starts a new learner from the newest checkpoint, and goes back to its totals."""
        checkpoint = self._keeper.newest_checkpoint()
        if checkpoint is None and self._began_from is not None:
            raise CheckpointError(
                f"the learner was lost, and the checkpoint {self._began_from} is no longer there to go back to"
            ) from error
        totals = self._first if checkpoint is None else checkpoint.totals
        done = [part for item in iterations for part in item.parts if error_of(part.report) is None]
        num_lost = len(done) + self._pipeline.num_unused
        lost = self.totals.env_steps - totals.env_steps + num_lost * self._config.steps_per_rollout
        # It is on the learner's node.
        self._drop_lost_server()
        fault = RunFault("learner", reason_of_death(error), lost)
        self._observer.on_fault(fault)
        self._recovery.tell_environments_of_unused(done)
        self._pipeline.give_up(len(self._pipeline.pending))
        self._keeper.go_back(totals)
        left_out = _transitions_left_out(checkpoint)
        self._totals.lose_replay(left_out)
        self._observer.on_rollback(totals)
        self._tell_replay_lost(left_out)

        def prepare() -> None:
            self._prepare_learners(checkpoint)
            self.get(self._pipeline.weights)

        self._recovery.replace_learners(error, fault, prepare)

    def interrupt(self) -> TrainingTotals | None:
        """Ends the collectors at once, and saves a checkpoint of what has been learned.

        Returns:
            The totals of the newest checkpoint; None if there is none. It is an older checkpoint if the learner does
            not give its state within seconds.
        """
        self._settle_what_is_done()
        state = self._state_of_totals()
        saved = self.saved_totals()
        if state is not None and self.totals.updates > (0 if saved is None else saved.updates):
            policies = None
            if self._keeper.keeps_policies:
                # The checkpoint is worth more than the policies: the first export takes seconds.
                with contextlib.suppress(DistPolicyError):
                    policies = calls.get(self._learners.export_policies(self._pipeline.exported), EXPORT_GRACE_S)
            self._keeper.save(state, policies)
            return self.totals
        return saved

    def saved_totals(self) -> TrainingTotals | None:
        """Returns the totals of the newest checkpoint; None if there is none."""
        found = self._keeper.newest_checkpoint()
        return None if found is None else found.totals

    def _settle_what_is_done(self) -> None:
        metrics = [update.metrics for update in self._pipeline.pending]
        calls.wait(metrics, len(metrics), self._grace_s)
        # Updates that still wait for a rollout fail, and do not change the learner.
        self._pool.close()
        with contextlib.suppress(DistPolicyError):
            for update in self._pipeline.pending:
                # The interrupt may have come after this update was counted, and before it was removed from the list.
                if update.update > self.totals.updates:
                    self._tell_update(self._settle(update), {})

    def _state_of_totals(self) -> dict[str, np.ndarray] | None:
        """Returns the learner's state; None if it does not come within seconds, or does not match the totals."""
        try:
            state = calls.get(self._learners.state(self._keeper.kept_parts), self._grace_s)
        except (DistPolicyError, IndexError):
            return None
        return state if int(state["learner/version"]) == self.totals.updates else None

    @property
    def _grace_s(self) -> float:
        return GRACE_S + 2 * self._last_update_s

    def warm_up_s(self) -> float:
        """Returns the seconds that compiling the update took."""
        return self.get(self._warm_up)

    def learner_state(self) -> dict[str, np.ndarray]:
        """Returns the learner's state after all submitted updates, without parts that the newest checkpoint holds."""
        return self.get(self._learners.state(self._keeper.kept_parts))

    def export_policies(self) -> dict[str, dict[str, bytes]]:
        """Returns the newest policies: the files of each by its name, ``policy`` or ``collect_policy``."""
        return self._again_after_losses(lambda: self.get(self._learners.export_policies(self._pipeline.exported)))

    def evaluate(
        self, num_episodes: int, policies: Sequence[EvaluatedPolicy] = ("greedy",), is_last: bool = False
    ) -> list[EvaluationResult]:
        """Plays episodes with the newest weights on seeds that training does not use, on all collectors.

        Args:
            num_episodes: Number of episodes of each policy.
            policies: The policies to evaluate.
            is_last: Whether no rollouts follow.

        Returns:
            The results, one for each policy.
        """
        return self._again_after_losses(
            lambda: self._evaluator.settle(
                self._evaluator.submit(self._pipeline.weights, num_episodes, policies, is_last)
            )
        )

    def evaluate_at_end(self) -> list[EvaluationResult]:
        """Evaluates the policies that are exported, after the last update; keeps them if they are the best."""
        results = self.evaluate(self._config.eval_episodes, self._pipeline.evaluated, is_last=True)
        if self._pipeline.evaluates_often:
            self._keeper.keep_if_best(results, self.export_policies)
        return results

    def _again_after_losses(self, call: Callable[[], _Result]) -> _Result:
        """Calls a function, and again if the learner or the server was lost meanwhile and has been replaced."""
        while True:
            try:
                return call()
            except DistPolicyError as error:
                if is_late(error):
                    self._recovery.kill_late([], self._config.steps_per_rollout)
                elif not (is_death(error) or lacks_argument(error)):
                    raise
                death = self._recovery.learner_death()
                if death is None and not self._drop_lost_server():
                    raise
                # What is under way between two updates counts: as done, or as lost.
                iterations = list(self._pipeline.pending)
                self._recovery.wait_for_answers(iterations, self._config.steps_per_rollout)
                if death is None:
                    self._submit_again(error, iterations, has_new_server=True)
                else:
                    self._replace_learners(death, iterations)

    def peak_memory_bytes(self) -> dict[str, int]:
        """Returns the peak resident memory of each worker, by name."""
        workers = [("learner", self._learners.actors[0])]
        workers += [(f"collector {handle.index}", handle.actor) for handle in self.handles]
        sizes = self.get([actor.peak_memory_bytes.remote() for _, actor in workers])
        return {name: size for (name, _), size in zip(workers, sizes, strict=True)}

    def close(self) -> None:
        """Ends the workers; may be called twice."""
        self._learners.kill()
        self._pool.close()
        if self._server is not None:
            self._server.kill()


def _transitions_left_out(checkpoint: Checkpoint | None) -> int:
    return 0 if checkpoint is None else transitions_left_out(checkpoint.state)


def _pipeline(parts: PipelineParts) -> UpdatePipeline:
    if parts.config.is_offline:
        return DatasetOrder(parts)
    return ArrivalOrder(parts) if parts.config.rollout_order == "arrival" else FixedOrder(parts)
