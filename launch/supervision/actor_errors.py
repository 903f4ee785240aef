"""Telling Ray's failures apart, and saying in one line what became of a worker."""

from __future__ import annotations

import math
import re

import ray

from distpolicy.errors import DistPolicyError
from workers.collection.watchdog import Hang

_MAX_LENGTH = 300

# What Ray sees of a process that ends without a word.
_CONNECTION_ENDED = "Worker unexpectedly exits with a connection error"

# What it tells of an actor whose node it has given up.
_NODE_DIED = re.compile(r"\bip: (\S+) The actor died because its node has died")


def is_death(error: DistPolicyError) -> bool:
    """Whether an error of :func:`launch.supervision.calls.get` tells that an actor is no more, or what it made.

    It does not if the actor has raised the error, or has not answered in time.
    """
    cause = error.__cause__
    answered = ray.exceptions.RayTaskError | ray.exceptions.GetTimeoutError
    return isinstance(cause, ray.exceptions.RayError) and not isinstance(cause, answered)


def is_late(error: DistPolicyError) -> bool:
    """Whether an error of :func:`launch.supervision.calls.get` tells that an actor has not answered in time."""
    return isinstance(error.__cause__, ray.exceptions.GetTimeoutError)


def lacks_argument(error: DistPolicyError) -> bool:
    """Returns True if a call failed because one of its arguments, the result of another call, had failed."""
    cause = error.__cause__
    return isinstance(cause, ray.exceptions.RayTaskError) and isinstance(cause.cause, ray.exceptions.RayError)


def failed_in_constructor(error: DistPolicyError) -> bool:
    """Whether an actor's death is that its constructor raised."""
    return "error raised in its creation task" in " ".join(str(error.__cause__).split())


def reason_of_death(error: DistPolicyError) -> str:
    """Why, in one line: Ray's reason without its advice, or the error of an actor's constructor."""
    told = " ".join(str(error.__cause__).split())
    if node := _NODE_DIED.search(told):
        return f"its node {node[1]} is lost"
    if isinstance(error.__cause__, ray.exceptions.ActorUnavailableError):
        return "its process or its node does not answer"
    detail = re.search(r"Worker exit detail: (.*?)(?: Some common causes|$)", told)
    if detail is None:
        return str(error)[:_MAX_LENGTH].rstrip(".")
    if detail[1].startswith(_CONNECTION_ENDED):
        return "its process was killed or has crashed"
    return detail[1][:_MAX_LENGTH].rstrip(".")


def where_it_hung(hang: Hang, num_groups: int = 1) -> str:
    """``hung in step 41``.

    Args:
        hang: What the collector's watch has left.
        num_groups: Groups that its slots are stepped in, each of which counts its steps.
    """
    step = math.ceil(hang.step / num_groups)
    where = f"step {step:,}" if step else "its first reset"
    later = " or a later step that kept the GIL" if hang.held_gil else ""
    return f"hung in {where}{later}"


def what_hung(env: str, step_timeout_s: float) -> str:
    """Which env, and the limit that it overran."""
    return f"{env} took more than {step_timeout_s:g} s (step_timeout_s)"
