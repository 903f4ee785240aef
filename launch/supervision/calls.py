"""Waiting for workers, with a timeout and this package's errors. Workers may be in this process, too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ray
from ray import exceptions as ray_errors

from distpolicy.errors import DistPolicyError, WorkerLostError
from launch.supervision.actor_errors import describe_ray_error
from launch.supervision.local_actor import LocalActor, LocalAnswer
from launch.supervision.own_ray import check_alive
from workers.constructor_errors import ConstructorError

# How often it looks whether Ray is still there.
_LOOK_S = 1.0
# Workers may be told to be lost before the raylet that they are lost with has ended.
_LOOK_AGAIN_S = 0.5

_STORE_FULL = (
    "a node's object store is full and so is the disk that it spills to: free space, start Ray with a larger "
    "--object-store-memory, or lower the environments or --rollout-steps"
)


def get(references: Any, timeout_s: float) -> Any:
    """Returns the values of references, as ``ray.get`` does, but with a timeout.

    Args:
        references: One reference, or a list of them; there may be none.
        timeout_s: Maximum number of seconds to wait.

    Raises:
        WorkerLostError: If a worker does not answer or has died, or an object that it made is lost, or a Ray that this
            process has started has ended.
        DistPolicyError: If a worker raised an error, in a call or in its constructor.
    """
    if references == []:
        # Ray would be asked, and would start itself where there is none.
        return []
    if _is_local(references):
        return _local_results(references)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            check_alive()
            left_s = max(deadline - time.monotonic(), 0.0)
            try:
                return ray.get(references, timeout=min(left_s, _LOOK_S))
            except ray_errors.GetTimeoutError:
                if left_s <= _LOOK_S:
                    raise
    except ray_errors.GetTimeoutError as error:
        raise WorkerLostError(
            f"no answer from a worker in {timeout_s:g} s; raise timeout_s if its work takes longer"
        ) from error
    except ray_errors.RayTaskError as error:
        raise _raised_by_worker(error.cause) from error
    except ray_errors.RayActorError as error:
        check_alive(_LOOK_AGAIN_S)
        raise WorkerLostError(f"a worker died: {describe_ray_error(error)}") from error
    except ray_errors.RayError as error:
        check_alive(_LOOK_AGAIN_S)
        raise WorkerLostError(f"a worker failed: {describe_ray_error(error)}") from error


def wait(references: Sequence[Any], num_returns: int, timeout_s: float) -> tuple[list[Any], list[Any]]:
    """Waits for references, as ``ray.wait`` does.

    Args:
        references: The references; there may be none.
        num_returns: How many to wait for.
        timeout_s: Maximum number of seconds to wait.

    Returns:
        The references whose values are there, and the others.
    """
    if not references or _is_local(references):
        return list(references), []
    come, missing = ray.wait(list(references), num_returns=num_returns, timeout=timeout_s)
    return come, missing


def kill(actor: Any) -> None:
    """Ends an actor at once."""
    if isinstance(actor, LocalActor):
        actor.end()
    else:
        ray.kill(actor)


def _is_local(references: Any) -> bool:
    first = references[0] if isinstance(references, list | tuple) and references else references
    return isinstance(first, LocalAnswer)


def _local_results(references: Any) -> Any:
    try:
        return references.get() if isinstance(references, LocalAnswer) else [item.get() for item in references]
    except DistPolicyError:
        raise
    except Exception as error:
        raise _raised_by_worker(error) from error


def _raised_by_worker(cause: Exception) -> DistPolicyError:
    if isinstance(cause, ConstructorError):
        return cause.error
    if isinstance(cause, DistPolicyError):
        return cause
    if isinstance(cause, ray_errors.OutOfDiskError | ray_errors.ObjectStoreFullError):
        return DistPolicyError(_STORE_FULL)
    reason = " ".join(str(cause).split())
    return DistPolicyError(f"a worker failed with {type(cause).__name__}: {reason}")
