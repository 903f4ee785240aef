"""Conversion of nests of array specs to JSON values and back."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyInfo


def nest_to_json(nest: Any) -> dict[str, Any]:
    """Returns a nest of array specs as a JSON value.

    Args:
        nest: Dicts with strings or integers as keys, tuples, namedtuples and lists of array specs.

    Raises:
        SpecMismatchError: If a leaf is not an array spec, has an unknown dimension or has a dtype that cannot be
            stored, or if a key is neither a string nor an integer.
    """
    if isinstance(nest, dict):
        for key in nest:
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise SpecMismatchError(f"a dict of specs has the key {key!r}; use strings or integers")
        kind = "integer_dict" if any(isinstance(key, int) for key in nest) else "dict"
        return {kind: {str(key): nest_to_json(child) for key, child in nest.items()}}
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        children = {name: nest_to_json(getattr(nest, name)) for name in nest._fields}
        return {"namedtuple": type(nest).__name__, "fields": children}
    if isinstance(nest, tuple | list):
        return {"list" if isinstance(nest, list) else "tuple": [nest_to_json(child) for child in nest]}
    return _spec_to_json(nest)


def nest_from_json(value: Any) -> Any:
    """Returns the nest of array specs for a JSON value of :func:`nest_to_json`.

    A namedtuple other than :class:`PolicyInfo` becomes an instance of a new class with the same name and fields.

    Raises:
        ValueError, KeyError, TypeError: If the value does not come from :func:`nest_to_json`.
    """
    if "dict" in value:
        return {key: nest_from_json(child) for key, child in value["dict"].items()}
    if "integer_dict" in value:
        return {int(key): nest_from_json(child) for key, child in value["integer_dict"].items()}
    if "namedtuple" in value:
        names, children = tuple(value["fields"]), [nest_from_json(child) for child in value["fields"].values()]
        if value["namedtuple"] == PolicyInfo.__name__ and names == PolicyInfo._fields:
            return PolicyInfo(*children)
        return collections.namedtuple(value["namedtuple"], names)(*children)
    if "tuple" in value:
        return tuple(nest_from_json(child) for child in value["tuple"])
    if "list" in value:
        return [nest_from_json(child) for child in value["list"]]
    shape, dtype, name = tuple(value["shape"]), np.dtype(value["dtype"]), value["name"]
    if "minimum" not in value:
        return ArraySpec(shape, dtype, name)
    minimum, maximum = (np.asarray(value[bound], dtype) for bound in ("minimum", "maximum"))
    return BoundedArraySpec(shape, dtype, minimum, maximum, name)


def _spec_to_json(spec: Any) -> dict[str, Any]:
    if not isinstance(spec, ArraySpec):
        raise SpecMismatchError(f"a dataset's specs must be array specs, but one is a {type(spec).__name__}")
    if None in spec.shape:
        raise SpecMismatchError(f"spec {spec.name!r} with shape {spec.shape} cannot be stored; give all dimensions")
    largest = 16 if spec.dtype.kind == "c" else 8
    if spec.dtype.kind not in "biufc" or spec.dtype.itemsize > largest or not spec.dtype.isnative:
        raise SpecMismatchError(
            f"spec {spec.name!r} with dtype {spec.dtype} cannot be stored; use numbers of up to 64 bits, in native "
            "byte order, or booleans"
        )
    value: dict[str, Any] = {"shape": list(spec.shape), "dtype": spec.dtype.str, "name": spec.name}
    if isinstance(spec, BoundedArraySpec):
        value.update(minimum=_bound(spec.minimum), maximum=_bound(spec.maximum))
    return value


def _bound(bound: np.ndarray) -> Any:
    # An image's bounds are mostly one repeated number. Written in full, they would make the manifest large.
    uniform = bound.size > 0 and bool(np.all(bound == bound.flat[0]))
    return bound.flat[0].item() if uniform else bound.tolist()
