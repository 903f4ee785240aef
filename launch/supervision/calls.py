"""Waiting for workers: with a deadline, and with errors in our terms."""

from __future__ import annotations

import re
from typing import Any

import ray

from distpolicy import errors
from distpolicy.errors import DistPolicyError, WorkerLostError

_STORE_FULL = (
    "a node's object store is full and so is the disk that it spills to: free space, start Ray with a larger "
    "--object-store-memory, or lower the environments or --rollout-steps"
)


def get(references: Any, timeout_s: float) -> Any:
    """``ray.get`` with a deadline.

    Args:
        references: One reference, or a list of them.
        timeout_s: Seconds to wait at most.

    Raises:
        WorkerLostError: If a worker does not answer, died, or what it made is lost.
        DistPolicyError: What a worker raised.
    """
    try:
        return ray.get(references, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError as error:
        raise WorkerLostError(
            f"no answer from a worker in {timeout_s:g} s; raise timeout_s if its work takes longer"
        ) from error
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, DistPolicyError):
            raise cause from error
        if isinstance(cause, ray.exceptions.OutOfDiskError | ray.exceptions.ObjectStoreFullError):
            raise DistPolicyError(_STORE_FULL) from error
        reason = " ".join(str(cause).split())
        raise DistPolicyError(f"a worker failed with {type(cause).__name__}: {reason}") from error
    except ray.exceptions.RayActorError as error:
        raise _of_constructor(error) or WorkerLostError(f"a worker died: {_last_line(error)}") from error
    except ray.exceptions.RayError as error:
        raise WorkerLostError(f"what a worker made is lost: {' '.join(str(error).split())}") from error


def _of_constructor(error: Exception) -> DistPolicyError | None:
    """The error of ours that a worker's constructor raised; Ray only has its text."""
    found = re.findall(r"^distpolicy\.errors\.(\w+): (.+)$", str(error), re.MULTILINE)
    if not found:
        return None
    name, message = found[-1]
    kind = getattr(errors, name, None)
    return kind(message) if isinstance(kind, type) and issubclass(kind, DistPolicyError) else None


def _last_line(error: Exception) -> str:
    """What an actor died of: the last line of a traceback of its constructor, or Ray's own reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if "Traceback" in str(error) else " ".join(lines[:2])
