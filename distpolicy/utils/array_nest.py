"""Nests of dicts, tuples, namedtuples and lists, without TensorFlow, in ``tf.nest``'s order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def flatten(nest: Any) -> list[Any]:
    """The leaves; those of a dict in order of its keys."""
    if isinstance(nest, dict):
        return [leaf for key in sorted(nest) for leaf in flatten(nest[key])]
    if isinstance(nest, tuple | list):
        return [leaf for child in nest for leaf in flatten(child)]
    return [nest]


def map_structure(function: Callable[..., Any], *nests: Any) -> Any:
    """``function`` of the leaves of nests that are alike, in a nest like the first."""
    first = nests[0]
    if isinstance(first, dict):
        return type(first)({key: map_structure(function, *(nest[key] for nest in nests)) for key in first})
    if isinstance(first, tuple | list):
        children = [map_structure(function, *column) for column in zip(*nests, strict=True)]
        return type(first)(*children) if hasattr(first, "_fields") else type(first)(children)
    return function(*nests)


def paths(nest: Any, prefix: str = "") -> list[str]:
    """The path of each leaf, such as ``/observation/camera``, in the order of :func:`flatten`."""
    if isinstance(nest, dict):
        return [path for key in sorted(nest) for path in paths(nest[key], f"{prefix}/{key}")]
    if isinstance(nest, tuple | list):
        names = getattr(nest, "_fields", range(len(nest)))
        return [path for name, child in zip(names, nest, strict=True) for path in paths(child, f"{prefix}/{name}")]
    return [prefix]
