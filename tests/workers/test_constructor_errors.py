"""A worker whose constructor has failed says so at every call."""

from __future__ import annotations

import asyncio
import inspect
import pickle

import pytest

from distpolicy.errors import ConfigError, DistPolicyError, EnvironmentCrashedError
from workers.constructor_errors import ConstructorError, keeping_constructor_error


class Worker:
    """Fails as it is told to.

    Args:
        error: Raised by the constructor, if there is one.
    """

    def __init__(self, error: Exception | None = None) -> None:
        if error is not None:
            raise error

    def doubled(self, value: int) -> int:
        return 2 * value

    async def doubled_later(self, value: int) -> int:
        return 2 * value


def test_a_sound_worker_works_as_before_under_its_own_name() -> None:
    kept = keeping_constructor_error(Worker)
    assert kept.__name__ == "Worker"
    assert issubclass(kept, Worker)
    assert inspect.iscoroutinefunction(kept.doubled_later)
    worker = kept()
    assert worker.doubled(3) == 6
    assert asyncio.run(worker.doubled_later(3)) == 6


def test_every_call_raises_what_the_constructor_raised() -> None:
    error = ConfigError("no such env")
    worker = keeping_constructor_error(Worker)(error)
    with pytest.raises(ConstructorError) as raised:
        worker.doubled(3)
    assert raised.value.error is error
    with pytest.raises(ConstructorError):
        asyncio.run(worker.doubled_later(3))


def test_an_error_of_another_kind_is_put_in_our_terms() -> None:
    class Odd(Exception):
        def __reduce__(self) -> str:
            raise TypeError("not picklable")

    worker = keeping_constructor_error(Worker)(Odd("lost\nits key"))
    with pytest.raises(ConstructorError) as raised:
        worker.doubled(3)
    assert type(raised.value.error) is DistPolicyError
    assert str(raised.value.error) == "a worker failed with Odd: lost its key"


def test_the_error_travels_with_its_fields() -> None:
    error = EnvironmentCrashedError("raised OSError", collector=1, slot=2, traceback="in step")
    copy = pickle.loads(pickle.dumps(ConstructorError(error))).error
    assert type(copy) is EnvironmentCrashedError
    assert (copy.collector, copy.slot, copy.traceback) == (1, 2, "in step")
