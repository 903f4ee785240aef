"""What Ray's errors mean, in one line; Ray does not run."""

from __future__ import annotations

import pytest
from ray import exceptions as ray_errors
from ray.core.generated.common_pb2 import ActorDiedErrorContext, NodeDeathInfo

from distpolicy.errors import ConfigError, DistPolicyError, WorkerLostError
from launch.supervision.actor_errors import (
    describe_hang,
    describe_ray_error,
    failed_in_constructor,
    is_death,
    is_late,
    lacks_argument,
    reason_of_death,
)
from workers.collection.watchdog import Hang
from workers.constructor_errors import ConstructorError

ACTOR = bytes(16)


def died(message: str, **more: object) -> ray_errors.ActorDiedError:
    return ray_errors.ActorDiedError(
        ActorDiedErrorContext(actor_id=ACTOR, class_name="Collector", error_message=message, **more)
    )


def raised(cause: Exception) -> ray_errors.RayTaskError:
    trace = f"Traceback (most recent call last):\n  File x\n{type(cause).__name__}: {cause}"
    return ray_errors.RayTaskError("f", trace, cause, "worker", 1, "127.0.0.1", "actor", "00")


PREEMPTED = NodeDeathInfo(reason=NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED)
WORKER_DIED = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (died("", node_death_info=PREEMPTED), "its node was taken away (preempted)"),
        (
            died("The actor died because its node has died. Node Id: 12", node_ip_address="10.0.0.7"),
            "its node 10.0.0.7 is lost",
        ),
        (
            died(
                f"{WORKER_DIED}Worker unexpectedly exits with a connection error code 2. Some common causes include: x"
            ),
            "its process was killed or has crashed",
        ),
        (
            died(f"{WORKER_DIED}Worker exits unexpectedly. Worker exits with an exit code 1.", never_started=True),
            "Worker exits unexpectedly. Worker exits with an exit code 1",
        ),
        (died("The actor is dead because it was killed by `ray.kill`."), "its process was killed or has crashed"),
        (died("Words of another version of Ray."), "its process was killed or has crashed"),
        (ray_errors.ActorDiedError(), "its process was killed or has crashed"),
        (ray_errors.ActorDiedError(raised(ImportError("no module x"))), "ImportError: no module x"),
        (ray_errors.ActorUnavailableError("connection refused", ACTOR), "its process or its node does not answer"),
        (ray_errors.OutOfMemoryError("a long text"), "its node ran out of memory, and Ray ended it"),
        (ray_errors.NodeDiedError("a long text"), "its node is lost"),
        (ray_errors.ObjectLostError("00", b"", ""), "what it made is lost with its node"),
        (ray_errors.OwnerDiedError("00", b"", ""), "what it made is lost with the process that asked for it"),
        (ray_errors.RuntimeEnvSetupError("no pip"), "its runtime environment cannot be set up: no pip"),
        (ray_errors.ActorUnschedulableError("no such node"), "Ray has no place for it: no such node"),
        (ray_errors.RaySystemError("odd"), "System error: odd"),
    ],
)
def test_an_error_of_rays_in_one_line(error: ray_errors.RayError, told: str) -> None:
    assert describe_ray_error(error) == told
    ours = WorkerLostError("a worker died")
    ours.__cause__ = error
    assert is_death(ours)
    assert reason_of_death(ours) == told


def caused(cause: Exception) -> DistPolicyError:
    error = DistPolicyError("a worker failed")
    error.__cause__ = cause
    return error


def test_failures_are_told_apart() -> None:
    in_call = caused(raised(ConfigError("no such env")))
    in_constructor = caused(raised(ConstructorError(ConfigError("no such env"))))
    unpicklable = caused(ray_errors.ActorDiedError(raised(ImportError("x"))))
    of_argument = caused(raised(raised(ConfigError("no such env"))))
    late = caused(ray_errors.GetTimeoutError())
    dead = caused(died(""))
    everything = [in_call, in_constructor, unpicklable, of_argument, late, dead]
    assert [error for error in everything if is_death(error)] == [unpicklable, dead]
    assert [error for error in everything if failed_in_constructor(error)] == [in_constructor, unpicklable]
    assert [error for error in everything if lacks_argument(error)] == [of_argument]
    assert [error for error in everything if is_late(error)] == [late]


@pytest.mark.parametrize(
    ("hang", "num_groups", "told"),
    [
        (Hang(41, False, "x"), 1, "hung in step 41: Env-v0 took more than 2 s (step_timeout_s)"),
        (Hang(41, False, "x"), 2, "hung in step 21: Env-v0 took more than 2 s (step_timeout_s)"),
        (Hang(0, False, "x"), 1, "hung in its first reset: Env-v0 took more than 2 s (step_timeout_s)"),
        (
            Hang(3, True, "x"),
            1,
            "hung in step 3 or a later step that kept the GIL: Env-v0 took more than 2 s (step_timeout_s)",
        ),
    ],
)
def test_a_hang_is_told_with_its_step_and_the_limit(hang: Hang, num_groups: int, told: str) -> None:
    assert describe_hang(hang, "Env-v0", 2.0, num_groups) == told
