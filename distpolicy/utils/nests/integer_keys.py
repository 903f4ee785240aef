"""Functions for nests whose dicts have integers as keys, where a file or a proto takes strings only.

The two forms of a nest differ in the order of their leaves, since ``"10"`` comes before ``"2"``. So a nest is changed
from one form to the other by its structure, never leaf by leaf.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from distpolicy.errors import SpecMismatchError
from distpolicy.utils.nests.array_nest import spelt


def with_string_keys(nest: Any) -> Any:
    """Returns the nest with the strings of its keys as keys. Containers that are not dicts stay as they are.

    Raises:
        SpecMismatchError: If a key is neither a string nor an integer; names the key.
    """
    if isinstance(nest, dict):
        for key in nest:
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise SpecMismatchError(f"a dict has the key {key!r}; use strings or integers")
        return {str(key): with_string_keys(child) for key, child in nest.items()}
    return _mapped(nest, with_string_keys)


def integer_key_paths(nest: Any, path: str = "") -> list[str]:
    """Returns the paths of the dicts whose keys are integers."""
    if isinstance(nest, dict):
        own = [path] if any(isinstance(key, int) for key in nest) else []
        below = [integer_key_paths(child, f"{path}/{spelt(key)}") for key, child in nest.items()]
    elif isinstance(nest, tuple | list):
        own = []
        below = [integer_key_paths(child, f"{path}/{index}") for index, child in enumerate(nest)]
    else:
        return []
    return [*own, *(found for paths in below for found in paths)]


def with_integer_keys(nest: Any, paths: Collection[str], path: str = "") -> Any:
    """Returns the nest before :func:`with_string_keys`.

    Args:
        nest: Result of :func:`with_string_keys`.
        paths: Result of :func:`integer_key_paths` for the nest before.
        path: Path of the nest.
    """
    if isinstance(nest, dict):
        convert = int if path in paths else str
        return {convert(key): with_integer_keys(nest[key], paths, f"{path}/{spelt(key)}") for key in nest}
    if isinstance(nest, tuple | list):
        indices = iter(range(len(nest)))
        return _mapped(nest, lambda child: with_integer_keys(child, paths, f"{path}/{next(indices)}"))
    return nest


def with_keys_of(structure: Any, nest: Any) -> Any:
    """Returns a nest with string keys in the containers of ``structure``, which may have integers as keys.

    Args:
        structure: A nest.
        nest: A nest like ``with_string_keys(structure)``. What is at a leaf of ``structure`` may be a nest itself.
    """
    if isinstance(structure, dict):
        return type(structure)({key: with_keys_of(child, nest[str(key)]) for key, child in structure.items()})
    if isinstance(structure, tuple | list):
        children = iter(nest)
        return _mapped(structure, lambda child: with_keys_of(child, next(children)))
    return nest


def _mapped(nest: Any, function: Any) -> Any:
    """Applies a function to the children of a tuple or list; returns a leaf as it is."""
    if not isinstance(nest, tuple | list):
        return nest
    children = [function(child) for child in nest]
    return type(nest)(*children) if hasattr(nest, "_fields") else type(nest)(children)
