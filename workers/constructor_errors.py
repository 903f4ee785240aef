"""Errors of a worker's constructor, kept so that they reach the caller as they are.

Ray ends an actor whose constructor raises, and its ``ActorDiedError`` has the error as text alone.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from distpolicy.errors import DistPolicyError
from distpolicy.utils.error_text import one_line


class ConstructorError(Exception):
    """A worker's constructor has failed: every call of the worker raises this.

    Args:
        error: What it raised; an error of another kind than ours in our terms.
    """

    def __init__(self, error: DistPolicyError) -> None:
        super().__init__(error)
        self.error = error


def keeping_constructor_error(worker: type, environment: Mapping[str, str] = MappingProxyType({})) -> type:
    """Returns a subclass of a worker whose calls raise :class:`ConstructorError` if its constructor has failed.

    Args:
        worker: A class whose public methods are to be called on an actor. The subclass has its name, which Ray gives
            to the process.
        environment: Environment variables that are set before the constructor runs.
    """
    variables = dict(environment)

    class Kept(worker):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            os.environ.update(variables)
            self.constructor_error: ConstructorError | None = None
            try:
                super().__init__(*args, **kwargs)
            except DistPolicyError as error:
                self.constructor_error = ConstructorError(error)
            except Exception as error:  # What users give may raise anything, and may not be picklable.
                reason = one_line(error)
                told = DistPolicyError(f"a worker failed with {type(error).__name__}: {reason}")
                self.constructor_error = ConstructorError(told)

    for name, method in inspect.getmembers(worker, inspect.isfunction):
        if not name.startswith("_"):
            setattr(Kept, name, _checked(method))
    Kept.__name__, Kept.__qualname__, Kept.__doc__ = worker.__name__, worker.__qualname__, worker.__doc__
    return Kept


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    def check(worker: Any) -> None:
        if worker.constructor_error is not None:
            raise worker.constructor_error

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        check(self)
        return method(self, *args, **kwargs)

    @functools.wraps(method)
    async def checked_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        check(self)
        return await method(self, *args, **kwargs)

    # Ray looks for coroutine functions to see how an actor works.
    return checked_async if inspect.iscoroutinefunction(method) else checked
