"""ObservationArrays: arrays ``[B, ...]`` that collect and check the observations of B environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distpolicy.environments.gymnasium_interface import array_of, structure_problem
from distpolicy.utils.nests.array_nest import flatten, getters, pack_leaves, paths


class ObservationArrays:
    """Arrays with a row for each environment.

    Args:
        spec: Nest of array specs of one environment.
        num_slots: B, the number of rows.
        name: What the nest holds, for messages.
        leaves: The arrays ``[B, ...]`` to use, in the order of ``flatten``; None to allocate them.

    Attributes:
        leaves: The arrays ``[B, ...]``, in the order of ``flatten``.
        nest: The same arrays as a nest like ``spec``.
        write: Function that takes a row and one environment's nest, and writes the nest into the row. It raises
            InterfaceError, which names the leaf, if the structure or a shape differs from the spec, or its dtype does
            not hold a value; see :func:`distpolicy.environments.gymnasium_interface.array_of`.
    """

    def __init__(self, spec: Any, num_slots: int, name: str, leaves: Sequence[np.ndarray] | None = None) -> None:
        specs = flatten(spec)
        self.leaves = (
            [np.zeros((num_slots, *leaf.shape), leaf.dtype) for leaf in specs] if leaves is None else list(leaves)
        )
        self._spec = spec
        self._names = [f"{name}{path}" for path in paths(spec)]
        self._kinds = [(leaf.shape, leaf.dtype) for leaf in specs]
        self._getters: list[Callable[[Any], Any]] = getters(spec)
        self.nest = pack_leaves(spec, self.leaves)
        self.write: Callable[[int, Any], None] = self._write_nest
        if not isinstance(spec, dict | tuple | list):
            # A shortcut for single arrays: nearly all environments have one.
            self._array, (self._shape, self._dtype) = self.leaves[0], self._kinds[0]
            self.write = self._write_array

    def _write_nest(self, row: int, value: Any) -> None:
        for index, get in enumerate(self._getters):
            try:
                leaf = get(value)
            except (KeyError, IndexError, TypeError) as error:
                raise structure_problem(self._names[index], value) from error
            self._write_leaf(index, row, leaf)

    def _write_array(self, row: int, value: Any) -> None:
        # An equal dtype that is another object goes the long way.
        if type(value) is np.ndarray and value.dtype is self._dtype and value.shape == self._shape:
            self._array[row] = value
        else:
            self._write_leaf(0, row, value)

    def _write_leaf(self, index: int, row: int, value: Any) -> None:
        shape, dtype = self._kinds[index]
        self.leaves[index][row] = array_of(value, dtype, shape, self._names[index])
