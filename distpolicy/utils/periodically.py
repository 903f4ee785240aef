"""Calls of a function once in several times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class Periodically(tf.Module):
    """Calls ``body`` at each ``period``-th call, also in compiled functions: the count is a variable.

    Args:
        body: A function without arguments. In a compiled function it must not return tensors.
        period: An integer, or an integer scalar; None never to call it.
        name: Name of the module.

    Raises:
        TypeError: If ``body`` cannot be called.
    """

    def __init__(self, body: Callable[[], Any], period: Any, name: str = "periodically") -> None:
        super().__init__(name=name)
        _check(body)
        self._body, self._period = body, period
        self._counter = tf.Variable(0, dtype=tf.int64, trainable=False, name="counter")

    def __call__(self) -> Any:
        """Counts, and calls the function if it is time."""
        if self._period is None:
            return tf.no_op()
        count = self._counter.assign_add(1, read_value=True)

        def call() -> tf.Tensor:
            with tf.control_dependencies([item for item in [self._body()] if isinstance(item, tf.Operation)]):
                return tf.constant(True)

        return tf.cond(tf.equal(count % tf.cast(self._period, tf.int64), 0), call, lambda: tf.constant(False))


class EagerPeriodically:
    """Calls ``body`` at each ``period``-th call. It counts in Python, so it cannot be compiled.

    Args:
        body: A function without arguments.
        period: An integer; None never to call it.

    Raises:
        TypeError: If ``body`` cannot be called.
    """

    def __init__(self, body: Callable[[], Any], period: int | None) -> None:
        _check(body)
        self._body, self._period, self._counter = body, period, 0

    def __call__(self) -> Any:
        """Counts, and calls the function if it is time."""
        self._counter += 1
        return self._body() if self._period is not None and self._counter % self._period == 0 else None


def periodically(body: Callable[[], Any], period: Any, name: str = "periodically") -> Any:
    """Returns an :class:`EagerPeriodically`; in a graph, the operation of one call of a :class:`Periodically`."""
    if tf.executing_eagerly():
        return EagerPeriodically(body, period)
    return Periodically(body, period, name)()


def _check(body: Any) -> None:
    if not callable(body):
        raise TypeError(f"body must be a function, not {body!r}")
