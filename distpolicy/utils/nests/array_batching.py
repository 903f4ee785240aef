"""Functions on the batch dimensions of nests of NumPy arrays. They do not import TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distpolicy.utils.nests.array_nest import flatten, map_structure, paths


def batch_nested_array(nested_array: Any) -> Any:
    """Adds a batch dimension of 1 before each array's shape."""
    return map_structure(lambda array: np.expand_dims(array, 0), nested_array)


def unbatch_nested_array(nested_array: Any) -> Any:
    """Removes each array's first dimension, which must be 1.

    Raises:
        ValueError: If a first dimension is not 1. The message names the array.
    """
    for path, array in zip(paths(nested_array), flatten(nested_array), strict=True):
        if np.ndim(array) == 0 or np.shape(array)[0] != 1:
            raise ValueError(f"{path or 'the array'}: expected a first dimension of 1, got shape {np.shape(array)}")
    return map_structure(lambda array: np.asarray(array)[0], nested_array)


def stack_nested_arrays(nested_arrays: Sequence[Any]) -> Any:
    """Stacks a list of nests with the same structure into one nest of arrays ``[num_nests, ...]``.

    Raises:
        ValueError: If the list is empty.
    """
    if not nested_arrays:
        raise ValueError("stack_nested_arrays needs at least one nest, but the list is empty")
    return map_structure(lambda *arrays: np.stack(arrays), *nested_arrays)


def unstack_nested_arrays(nested_array: Any) -> list[Any]:
    """Returns a nest for each entry of the arrays' first dimension; an empty list for a nest without arrays."""
    return [
        map_structure(lambda array, at=index: array[at], nested_array) for index in range(_batch_size(nested_array))
    ]


def unstack_nested_arrays_into_flat_items(nested_array: Any) -> list[tuple[Any, ...]]:
    """Returns the leaves of each nest that :func:`unstack_nested_arrays` returns, without building the nests."""
    leaves = flatten(nested_array)
    return [tuple(leaf[index] for leaf in leaves) for index in range(_batch_size(nested_array))]


def get_outer_array_shape(nested_array: Any, spec: Any) -> tuple[int, ...]:
    """Returns the dimensions before the spec's shape, as found in the first leaf; ``()`` for an empty nest.

    Args:
        nested_array: Nest of arrays ``[..., *shape]``.
        spec: Nest of array specs.
    """
    leaves = flatten(nested_array)
    if not leaves:
        return ()
    shape = np.shape(leaves[0])
    return shape[: len(shape) - len(flatten(spec)[0].shape)]


def _batch_size(nested_array: Any) -> int:
    leaves = flatten(nested_array)
    sizes = {len(leaf) for leaf in leaves}
    if len(sizes) > 1:
        named = dict(zip(paths(nested_array), map(len, leaves), strict=True))
        raise ValueError(f"the arrays' first dimensions must be equal, but are {named}")
    return sizes.pop() if sizes else 0
