"""Classifies Ray's errors, and describes in one line why a worker failed."""

from __future__ import annotations

import math
import re

from ray import exceptions as ray_errors

from distpolicy.errors import DistPolicyError, InferenceLostError
from workers.collection.watchdog import Hang
from workers.constructor_errors import ConstructorError

_MAX_LENGTH = 300

_KILLED = "its process was killed or has crashed"

# Ray 2.60 tells these only in the text of an ActorDiedError, not in attributes: that the node has died and its address,
# and how the process ended.
_NODE_DIED = re.compile(r"\bip: (\S+) The actor died because its node has died")
_EXIT_DETAIL = re.compile(r"Worker exit detail: (.*?)(?: Some common causes| The actor never ran|$)")
# This detail means that the process ended without telling Ray.
_CONNECTION_ENDED = "Worker unexpectedly exits with a connection error"


def is_death(error: DistPolicyError) -> bool:
    """Returns True if an error of :func:`launch.supervision.calls.get` says that an actor or an object of it is lost.

    Returns False if the actor raised the error, or did not answer in time. A collector whose inference server is lost
    counts as lost, too: it has stopped in the middle of a step.
    """
    cause = error.__cause__
    if isinstance(error, InferenceLostError):
        return True
    answered = ray_errors.RayTaskError | ray_errors.GetTimeoutError
    return isinstance(cause, ray_errors.RayError) and not isinstance(cause, answered)


def is_late(error: DistPolicyError) -> bool:
    """Returns True if an error of :func:`launch.supervision.calls.get` says that an actor did not answer in time."""
    return isinstance(error.__cause__, ray_errors.GetTimeoutError)


def lacks_argument(error: DistPolicyError) -> bool:
    """Returns True if a call failed because one of its arguments, the result of another call, had failed."""
    cause = error.__cause__
    return isinstance(cause, ray_errors.RayTaskError) and isinstance(cause.cause, ray_errors.RayError)


def lost_argument(error: DistPolicyError | None) -> str | None:
    """Returns the id, in hex, of the argument that a call failed for, because it is lost; None if it did not."""
    cause = None if error is None else error.__cause__
    if isinstance(cause, ray_errors.RayTaskError) and isinstance(cause.cause, ray_errors.ObjectLostError):
        return cause.cause.object_ref_hex
    return None


def failed_in_constructor(error: DistPolicyError) -> bool:
    """Returns True if an actor failed because its constructor raised."""
    cause = error.__cause__
    if isinstance(cause, ray_errors.RayTaskError):
        return isinstance(cause.cause, ConstructorError)
    # For instance because its class or its arguments cannot be unpickled on its node.
    return isinstance(cause, ray_errors.RayActorError) and cause.actor_init_failed


def reason_of_death(error: DistPolicyError) -> str:
    """Returns the reason why an actor is lost, in one line, from an error of :func:`launch.supervision.calls.get`."""
    cause = error.__cause__
    if isinstance(cause, ray_errors.RayError) and not isinstance(cause, ray_errors.RayTaskError):
        return describe_ray_error(cause)
    return _shortened(str(error))


def describe_ray_error(error: ray_errors.RayError) -> str:
    """Describes an error of Ray's in one line, without Ray's advice."""
    match error:
        case ray_errors.RayActorError(preempted=True):
            return "its node was taken away (preempted)"
        case ray_errors.ActorUnavailableError():
            return "its process or its node does not answer"
        case ray_errors.RayActorError(actor_init_failed=True):
            # Ray keeps the traceback of the constructor as text; its last line is the error.
            return _shortened(error.error_msg.strip().splitlines()[-1])
        case ray_errors.RayActorError():
            return _describe_exit(error.error_msg)
        case ray_errors.OutOfMemoryError():
            return "its node ran out of memory, and Ray ended it"
        case ray_errors.NodeDiedError() | ray_errors.LocalRayletDiedError():
            return "its node is lost"
        case ray_errors.WorkerCrashedError():
            return _KILLED
        case ray_errors.OwnerDiedError():
            return "what it made is lost with the process that asked for it"
        case ray_errors.ObjectLostError():
            return "what it made is lost with its node"
        case ray_errors.RuntimeEnvSetupError():
            return _shortened(
                f"its runtime environment cannot be set up: {error.error_message or 'Ray gives no reason'}"
            )
        case ray_errors.ActorUnschedulableError() | ray_errors.TaskUnschedulableError():
            return _shortened(f"Ray has no place for it: {error.error_message}")
    return _shortened(str(error))


def _describe_exit(text: str) -> str:
    told = " ".join(text.split())
    if node := _NODE_DIED.search(told):
        return f"its node {node[1]} is lost"
    detail = _EXIT_DETAIL.search(told)
    if detail is None or detail[1].startswith(_CONNECTION_ENDED):
        return _KILLED
    return _shortened(detail[1])


def _shortened(text: str) -> str:
    return " ".join(text.split())[:_MAX_LENGTH].rstrip(".")


def describe_hang(hang: Hang, env: str, step_timeout_s: float, num_groups: int = 1) -> str:
    """Describes where a collector hung and the limit that it exceeded, such as ``hung in step 41: …``.

    Args:
        hang: The hang as the collector's watchdog reported it.
        env: The environment's id.
        step_timeout_s: The limit in seconds.
        num_groups: Number of groups that the collector splits its slots into; each group counts its steps.
    """
    step = math.ceil(hang.step / num_groups)
    where = f"step {step:,}" if step else "its first reset"
    if hang.was_stopped:
        return f"was stopped (SIGSTOP) for more than {step_timeout_s:g} s (step_timeout_s)"
    later = " or a later step that kept the GIL" if hang.held_gil else ""
    return f"hung in {where}{later}: {env} took more than {step_timeout_s:g} s (step_timeout_s)"
