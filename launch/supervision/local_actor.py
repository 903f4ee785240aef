"""LocalActor: a worker in this process behind the interface of a Ray actor, for a debugger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class LocalAnswer:
    """The answer of a call to a :class:`LocalActor`. It stands where Ray's reference would.

    Args:
        value: The result.
        error: The error that the call raised; None if it succeeded.
    """

    def __init__(self, value: Any = None, error: Exception | None = None) -> None:
        self._value, self._error = value, error

    def get(self) -> Any:
        """Returns the result, or raises the error."""
        if self._error is not None:
            raise self._error
        return self._value


class LocalActor:
    """A worker whose calls are made at once, in this process.

    Args:
        worker: The worker.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def __getattr__(self, name: str) -> LocalMethod:
        return LocalMethod(getattr(self._worker, name))

    def end(self) -> None:
        """Closes the worker, as far as it has something to close."""
        close = getattr(self._worker, "close", None)
        if close is not None:
            close()


class LocalMethod:
    """A method of a :class:`LocalActor`.

    Args:
        function: The worker's method.
        num_returns: Number of answers that its result is divided into.
    """

    def __init__(self, function: Callable[..., Any], num_returns: int = 1) -> None:
        self._function, self._num_returns = function, num_returns

    def options(self, num_returns: int) -> LocalMethod:
        """Returns the method with another number of answers."""
        return LocalMethod(self._function, num_returns)

    def remote(self, *arguments: Any, **named: Any) -> LocalAnswer | Sequence[LocalAnswer]:
        """Calls the worker. An answer among the arguments is replaced by its result, and an error is kept."""
        try:
            result = self._function(*map(_result, arguments), **{name: _result(item) for name, item in named.items()})
        except Exception as error:
            answers = [LocalAnswer(error=error) for _ in range(self._num_returns)]
        else:
            answers = [LocalAnswer(item) for item in (result if self._num_returns > 1 else [result])]
        return answers if self._num_returns > 1 else answers[0]


def _result(argument: Any) -> Any:
    return argument.get() if isinstance(argument, LocalAnswer) else argument
