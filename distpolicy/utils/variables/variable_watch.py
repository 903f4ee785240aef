"""Notification of objects that hold copies of variables when the variables are updated."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Protocol

import tensorflow as tf

_WATCHERS, _COUNTER = "_distpolicy_watchers", "_distpolicy_update_counter"


class Watcher(Protocol):
    """An object that holds copies of variables. ``stale`` becomes True when one is updated."""

    stale: bool


def watch(variables: Iterable[tf.Variable], watcher: Watcher) -> None:
    """Sets ``watcher.stale`` whenever :func:`mark_updated` reports one of the variables. Keeps a weak reference.

    An update that is part of a compiled function is only seen here when the function is traced. Whoever watches asks
    :func:`update_counters` after that, and sees by their values how often the function has run.
    """
    for variable in variables:
        watchers = getattr(variable, _WATCHERS, None)
        if watchers is None:
            watchers = []
            setattr(variable, _WATCHERS, watchers)
        # Iterating over a list of references takes a tenth of the time of a WeakSet.
        watchers.append(weakref.ref(watcher, watchers.remove))


def mark_updated(variables: Iterable[tf.Variable]) -> None:
    """Marks everything that watches one of the variables as stale.

    While a function is traced, it also makes the function count its updates.
    """
    variables = list(variables)
    if not tf.executing_eagerly():
        _count(variables)
    for variable in variables:
        # This iterates over a copy, since a watcher that is garbage-collected meanwhile removes itself.
        for reference in (*getattr(variable, _WATCHERS, ()),):
            if (watcher := reference()) is not None:
                watcher.stale = True


def update_counters(variables: Iterable[tf.Variable]) -> list[tf.Variable]:
    """Returns the int64 variables that count the updates of these variables inside compiled functions."""
    found = (getattr(variable, _COUNTER, None) for variable in variables)
    return list({id(counter): counter for counter in found if counter is not None}.values())


def _count(variables: Sequence[tf.Variable]) -> None:
    """Adds to the traced function that it counts; each variable has one counter, which it may share."""
    without = [variable for variable in variables if not hasattr(variable, _COUNTER)]
    if without:
        with tf.init_scope():
            counter = tf.Variable(
                tf.zeros((), tf.int64),
                trainable=False,
                name="num_updates",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
        for variable in without:
            setattr(variable, _COUNTER, counter)
    for counter in update_counters(variables):
        counter.assign_add(1)
