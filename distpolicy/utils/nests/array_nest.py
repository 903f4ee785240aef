"""Functions on nests of dicts, tuples, namedtuples and lists, in ``tf.nest``'s order but without TensorFlow."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any


def flatten(nest: Any) -> list[Any]:
    """Returns the leaves. Leaves of a dict come in the order of its sorted keys."""
    if isinstance(nest, dict):
        return [leaf for key in sorted(nest) for leaf in flatten(nest[key])]
    if isinstance(nest, tuple | list):
        return [leaf for child in nest for leaf in flatten(child)]
    return [nest]


def map_structure(function: Callable[..., Any], *nests: Any) -> Any:
    """Applies ``function`` to the leaves of nests with the same structure, and returns a nest like the first."""
    first = nests[0]
    if isinstance(first, dict):
        return type(first)({key: map_structure(function, *(nest[key] for nest in nests)) for key in first})
    if isinstance(first, tuple | list):
        children = [map_structure(function, *column) for column in zip(*nests, strict=True)]
        return type(first)(*children) if hasattr(first, "_fields") else type(first)(children)
    return function(*nests)


def packer(structure: Any) -> Callable[[Sequence[Any]], Any]:
    """Returns a function that packs flat values into a nest.

    It is many times as fast as :func:`map_structure`, for calls at every step: it is compiled from an expression such
    as ``kind0(values[0], (), {key1: values[1]})``.

    Args:
        structure: A nest of places in the flat values.
    """
    names: dict[str, Any] = {}

    def named(prefix: str, value: Any) -> str:
        name = f"{prefix}{len(names)}"
        names[name] = value
        return name

    def expression(nest: Any) -> str:
        if isinstance(nest, dict):
            items = ", ".join(f"{named('key', key)}: {expression(child)}" for key, child in nest.items())
            return f"{{{items}}}" if type(nest) is dict else f"{named('kind', type(nest))}({{{items}}})"
        if isinstance(nest, tuple | list):
            children = "".join(f"{expression(child)}, " for child in nest)
            if hasattr(nest, "_fields"):
                return f"{named('kind', type(nest))}({children})"
            if type(nest) in (tuple, list):
                return f"({children})" if type(nest) is tuple else f"[{children}]"
            return f"{named('kind', type(nest))}([{children}])"
        return f"values[{named('place', nest)}]"

    return eval(f"lambda values: {expression(structure)}", names)


def leaf_places(structure: Any) -> Any:
    """Returns a nest like ``structure`` in which each leaf is its index in the order of :func:`flatten`."""
    places = itertools.count()

    def placed(nest: Any) -> Any:
        if isinstance(nest, dict):
            children = {key: placed(nest[key]) for key in sorted(nest)}
            return type(nest)({key: children[key] for key in nest})
        if isinstance(nest, tuple | list):
            items = [placed(child) for child in nest]
            return type(nest)(*items) if hasattr(nest, "_fields") else type(nest)(items)
        return next(places)

    return placed(structure)


def pack_leaves(structure: Any, leaves: Sequence[Any]) -> Any:
    """Returns a nest like ``structure`` with the given leaves, which are in the order of :func:`flatten`."""
    return packer(leaf_places(structure))(leaves)


def getters(nest: Any) -> list[Callable[[Any], Any]]:
    """Returns for each leaf, in the order of :func:`flatten`, a function that takes it out of a nest like this one.

    This is faster than :func:`flatten` if only few leaves are needed.
    """
    return [_getter(keys) for keys in _keys(nest)]


def _keys(nest: Any) -> list[tuple[Any, ...]]:
    if isinstance(nest, dict):
        return [(key, *rest) for key in sorted(nest) for rest in _keys(nest[key])]
    if isinstance(nest, tuple | list):
        return [(index, *rest) for index, child in enumerate(nest) for rest in _keys(child)]
    return [()]


def _getter(keys: tuple[Any, ...]) -> Callable[[Any], Any]:
    if not keys:
        return lambda nest: nest
    if len(keys) == 1:
        return operator.itemgetter(keys[0])
    if len(keys) == 2:
        first, second = keys
        return lambda nest: nest[first][second]
    return lambda nest: functools.reduce(operator.getitem, keys, nest)


def spelt(key: Any) -> str:
    """Returns a dict's key as a part of a path, as in JSON pointers (RFC 6901): ``~1`` for ``/``, ``~0`` for ``~``."""
    return str(key).replace("~", "~0").replace("/", "~1")


def paths(nest: Any, prefix: str = "") -> list[str]:
    """Returns the path of each leaf, such as ``/observation/camera``, in the order of :func:`flatten`.

    Two leaves of a nest never have the same path: see :func:`spelt`.
    """
    if isinstance(nest, dict):
        return [path for key in sorted(nest) for path in paths(nest[key], f"{prefix}/{spelt(key)}")]
    if isinstance(nest, tuple | list):
        names = getattr(nest, "_fields", range(len(nest)))
        return [path for name, child in zip(names, nest, strict=True) for path in paths(child, f"{prefix}/{name}")]
    return [prefix]
