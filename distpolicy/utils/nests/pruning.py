"""prune_extra_keys: removes the dict entries of a nest that another nest does not have."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def prune_extra_keys(narrow: Any, wide: Any) -> Any:
    """Returns ``wide`` without the dict entries that ``narrow`` does not have, at any depth.

    Where the structures differ in another way, the part of ``wide`` is returned unchanged, so the caller still has to
    check the structure. Where ``narrow`` is ``()``, the result is ``()``. Containers have the same types as in
    ``wide``. Neither nest is changed. TensorFlow's wrappers count as the lists and dicts that they wrap.

    Args:
        narrow: A nest.
        wide: A nest like ``narrow``, whose dicts may have more keys.
    """
    narrow, wide = _unwrapped(narrow), _unwrapped(wide)
    if isinstance(narrow, tuple) and not narrow:
        return ()
    if isinstance(narrow, Mapping):
        if not isinstance(wide, Mapping) or not set(narrow) <= set(wide):
            return wide
        return _like(wide, {key: prune_extra_keys(narrow[key], wide[key]) for key in narrow})
    if not isinstance(narrow, list | tuple) or not _same_sequence(narrow, wide):
        return wide
    children = [prune_extra_keys(*pair) for pair in zip(narrow, wide, strict=True)]
    return type(wide)(*children) if hasattr(wide, "_fields") else type(wide)(children)


def _unwrapped(nest: Any) -> Any:
    # TensorFlow's wrappers around dicts and tuples are wrapt proxies; its wrapper around lists is a list.
    return getattr(nest, "__wrapped__", nest) if tf.nest.is_nested(nest) else nest


def _same_sequence(left: Any, right: Any) -> bool:
    if not isinstance(right, list | tuple) or len(left) != len(right):
        return False
    if isinstance(left, list) != isinstance(right, list):
        return False
    return getattr(left, "_fields", None) == getattr(right, "_fields", None)


def _like(wide: Mapping[Any, Any], entries: dict[Any, Any]) -> Any:
    if not isinstance(wide, dict):
        return type(wide)(entries)  # type: ignore[call-arg]
    # A copy keeps a subclass's other attributes, such as a defaultdict's factory.
    pruned = copy.copy(wide)
    pruned.clear()
    pruned.update(entries)
    return pruned
