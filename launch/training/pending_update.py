"""PendingUpdate: references of rollouts, of the update that learns from them, and of an evaluation of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ray

from distpolicy.errors import DistPolicyError
from launch.supervision import calls
from launch.supervision.actor_errors import is_death, lacks_argument, lost_argument
from launch.supervision.collector_handle import CollectorHandle
from workers.collection.evaluator import EvaluationJob
from workers.collection.rollout_report import RolloutReport

# Ray sends smaller values with the answer, and the caller keeps them.
_INLINED_BYTES = 100 * 1024


class PendingRollout(NamedTuple):
    """A rollout that was asked for.

    Attributes:
        handle: The collector.
        rollout: Reference of the rollout.
        report: Reference of its report.
        read: The report, once it has been read.
    """

    handle: CollectorHandle
    rollout: Any
    report: Any
    read: RolloutReport | None = None


class PendingEpisodes(NamedTuple):
    """Episodes of an evaluation that a collector plays.

    Attributes:
        job: The episodes.
        handle: The collector.
        result: Reference of their result.
    """

    job: EvaluationJob
    handle: CollectorHandle
    result: Any


class PendingEvaluation(NamedTuple):
    """An evaluation that was submitted.

    Attributes:
        weights: Reference of the weights that act.
        parts: The shares of the collectors, in the order of policies and episodes.
    """

    weights: Any
    parts: Sequence[PendingEpisodes]


class PendingUpdate(NamedTuple):
    """References of one submitted iteration.

    Attributes:
        update: Number of the update.
        parts: The rollouts.
        weights: Reference of the weights that the update makes, as collectors take them.
        metrics: Reference of its metrics.
        state: Reference of the learner's state after the update, if a checkpoint is due; else None.
        policies: Reference of the policies' files after it, if a checkpoint or an evaluation is due; else None.
        evaluation: The evaluation of its weights, if one is due; else None.
    """

    update: int
    parts: Sequence[PendingRollout]
    weights: Any
    metrics: Any
    state: Any = None
    policies: Any = None
    evaluation: PendingEvaluation | None = None

    @property
    def references(self) -> list[Any]:
        """References of all answers."""
        found = [part.report for part in self.parts] + [self.metrics]
        return [*found, *(reference for reference in (self.state, self.policies) if reference is not None)]


def error_of(reference: Any) -> DistPolicyError | None:
    """Returns the error that an answer holds; None if the call succeeded. The answer must have come."""
    try:
        calls.get(reference, 0.0)
    except DistPolicyError as error:
        return error
    return None


def reports_of(parts: Sequence[PendingRollout], timeout_s: float) -> list[RolloutReport]:
    """Returns the reports of rollouts; waits for those that have not been read yet.

    Raises:
        DistPolicyError: As in :func:`launch.supervision.calls.get`.
    """
    got = iter(calls.get([part.report for part in parts if part.read is None], timeout_s))
    return [next(got) if part.read is None else part.read for part in parts]


def reports_or_errors(parts: Sequence[PendingRollout]) -> list[RolloutReport | DistPolicyError]:
    """Returns for each rollout that has come its report, or the error that it holds instead."""
    try:
        # Asks Ray once if all calls have succeeded.
        return list(reports_of(parts, 0.0))
    except DistPolicyError:
        return [error_of(part.report) or reports_of([part], 0.0)[0] for part in parts]


def has_come(reference: Any) -> bool:
    """Returns True if an answer has come, be it an error."""
    return bool(calls.wait([reference], 1, 0.0)[0])


def num_missing(parts: Sequence[PendingRollout]) -> int:
    """Returns how many of these rollouts have not come yet."""
    reports = [part.report for part in parts]
    return len(calls.wait(reports, len(reports), 0.0)[1])


class CollectorFailures(NamedTuple):
    """Dead collectors and good rollouts of iterations, the first of which has failed.

    Attributes:
        handles: The collectors that died in a rollout, and the error of each.
        kept: Rollouts of the iterations that are still available.
        gone: Rollouts that were complete, and are lost with their node.
    """

    handles: dict[CollectorHandle, DistPolicyError]
    kept: list[PendingRollout]
    gone: list[PendingRollout]


def find_failures(iterations: Sequence[PendingUpdate]) -> CollectorFailures:
    """Returns the dead collectors, and the rollouts that can be kept.

    Args:
        iterations: The iterations that have failed, in the order in which they were submitted; all answers have come.

    Raises:
        DistPolicyError: If a collector or the learner raised an error.
    """
    if not iterations:
        return CollectorFailures({}, [], [])
    handles: dict[CollectorHandle, DistPolicyError] = {}
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    # Ray may tell of what is lost with a node before it counts the node as dead.
    errors = [error_of(iteration.metrics) for iteration in iterations]
    lost = {lost_argument(error) for error in errors}
    kept: list[PendingRollout] = []
    gone: list[PendingRollout] = []
    for iteration in iterations:
        for part in iteration.parts:
            error = error_of(part.report)
            if error is None:
                is_there = part.rollout.hex() not in lost and _is_there(part.rollout, alive)
                (kept if is_there else gone).append(part)
            elif is_death(error):
                handles.setdefault(part.handle, error)
            elif not lacks_argument(error):
                raise error
    first = errors[0]
    if first is not None and not is_death(first) and not lacks_argument(first):
        raise first
    return CollectorFailures(handles, kept, gone)


def _is_there(reference: Any, alive: set[str]) -> bool:
    """Returns True if a value is still available; it is lost if its only node is."""
    where = ray.experimental.get_object_locations([reference])[reference]
    return where["object_size"] < _INLINED_BYTES or where["did_spill"] or bool(alive & set(where["node_ids"]))
