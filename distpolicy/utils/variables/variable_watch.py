"""Telling those who hold copies of variables that these were updated."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Protocol

import tensorflow as tf

_ATTRIBUTE = "_distpolicy_watchers"


class Watcher(Protocol):
    """Whoever holds copies."""

    stale: bool


def watch(variables: Iterable[tf.Variable], watcher: Watcher) -> None:
    """Has ``watcher.stale`` set once any of the variables is updated by :func:`mark_updated`; held weakly."""
    for variable in variables:
        watchers = getattr(variable, _ATTRIBUTE, None)
        if watchers is None:
            watchers = []
            setattr(variable, _ATTRIBUTE, watchers)
        # Gone through in a tenth of the time of a WeakSet.
        watchers.append(weakref.ref(watcher, watchers.remove))


def mark_updated(variables: Iterable[tf.Variable]) -> None:
    """Tells all that watch one of the variables."""
    for variable in variables:
        # A copy: watchers that end meanwhile take themselves out.
        for reference in (*getattr(variable, _ATTRIBUTE, ()),):
            if (watcher := reference()) is not None:
                watcher.stale = True
