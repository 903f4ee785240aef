"""Notification of objects that hold copies of variables when the variables are updated."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Protocol

import tensorflow as tf

_ATTRIBUTE = "_distpolicy_watchers"


class Watcher(Protocol):
    """An object that holds copies of variables. ``stale`` becomes True when one is updated."""

    stale: bool


def watch(variables: Iterable[tf.Variable], watcher: Watcher) -> None:
    """Sets ``watcher.stale`` whenever :func:`mark_updated` reports one of the variables. Keeps a weak reference."""
    for variable in variables:
        watchers = getattr(variable, _ATTRIBUTE, None)
        if watchers is None:
            watchers = []
            setattr(variable, _ATTRIBUTE, watchers)
        # Iterating over a list of references takes a tenth of the time of a WeakSet.
        watchers.append(weakref.ref(watcher, watchers.remove))


def mark_updated(variables: Iterable[tf.Variable]) -> None:
    """Marks everything that watches one of the variables as stale."""
    for variable in variables:
        # This iterates over a copy, since a watcher that is garbage-collected meanwhile removes itself.
        for reference in (*getattr(variable, _ATTRIBUTE, ()),):
            if (watcher := reference()) is not None:
                watcher.stale = True
