"""PendingUpdate: rollouts and the update that learns from them, as references; and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ray

from distpolicy.errors import DistPolicyError
from launch.supervision import calls
from launch.supervision.actor_errors import is_death, lacks_argument
from launch.supervision.collector_handle import CollectorHandle

# Smaller values travel with messages, and the one who asked keeps them.
_INLINED_BYTES = 100 * 1024


class PendingRollout(NamedTuple):
    """A rollout that was asked for.

    Attributes:
        handle: Who collects it.
        rollout: Reference of the rollout.
        report: Reference of its report.
    """

    handle: CollectorHandle
    rollout: Any
    report: Any


class PendingUpdate(NamedTuple):
    """References of one submitted iteration.

    Attributes:
        update: Number of the update.
        parts: The rollouts.
        metrics: Reference of the update's metrics.
        state: Reference of the learner's state after the update, if a checkpoint is due; else None.
    """

    update: int
    parts: Sequence[PendingRollout]
    metrics: Any
    state: Any

    @property
    def references(self) -> list[Any]:
        """All answers that are awaited."""
        found = [part.report for part in self.parts] + [self.metrics]
        return found if self.state is None else [*found, self.state]


def error_of(reference: Any) -> DistPolicyError | None:
    """What an answer that has come tells of a failure; None if it is good."""
    try:
        calls.get(reference, 0.0)
    except DistPolicyError as error:
        return error
    return None


class ActorFailures(NamedTuple):
    """What is left of iterations that have come to their end, the first of them by a failure.

    Attributes:
        handles: Collectors that are dead, and what their answers were.
        kept: Rollouts of the first iteration that are whole.
    """

    handles: dict[CollectorHandle, DistPolicyError]
    kept: list[PendingRollout]


def failures_of(iterations: Sequence[PendingUpdate]) -> ActorFailures:
    """Finds the dead, and what is left.

    Args:
        iterations: In the order in which they were submitted; all their answers have come.

    Raises:
        DistPolicyError: What a collector or the learner has raised.
    """
    handles: dict[CollectorHandle, DistPolicyError] = {}
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    kept = []
    for iteration in iterations:
        for part in iteration.parts:
            error = error_of(part.report)
            if error is None:
                if iteration is iterations[0] and _is_there(part.rollout, alive):
                    kept.append(part)
            elif is_death(error):
                handles.setdefault(part.handle, error)
            elif not lacks_argument(error):
                raise error
    error = error_of(iterations[0].metrics)
    if error is not None and not is_death(error) and not lacks_argument(error):
        raise error
    return ActorFailures(handles, kept)


def _is_there(reference: Any, alive: set[str]) -> bool:
    """Whether a value that was made still is: that of a node that is gone is not."""
    where = ray.experimental.get_object_locations([reference])[reference]
    return where["object_size"] < _INLINED_BYTES or where["did_spill"] or bool(alive & set(where["node_ids"]))
