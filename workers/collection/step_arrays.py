"""StepArrays: writes the steps of a rollout, one after the other, into arrays ``[B, T, ...]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from distpolicy.utils.nests.array_nest import flatten, getters

# Larger rows fill cache lines by themselves, so that nothing is won by moving them later.
_MAX_STAGED_BYTES = 256


class StepArrays:
    """Writes steps ``[B, ...]`` of a nest.

    The rows of one step lie T steps apart in a rollout. To write them there costs a cache line for each row, many times
    the time of writing them together. So the steps of small leaves are written to arrays ``[T, B, ...]``, and
    :meth:`finish` moves all of them at once, in a quarter of the time.

    Args:
        arrays: Nest of arrays ``[B, T, ...]`` to write to. Each may be a slice of rows of a contiguous array.
    """

    def __init__(self, arrays: Any) -> None:
        leaves = [_Leaf(array) for array in flatten(arrays)]
        self._targets = [leaf.steps for leaf in leaves]
        self._moves = [leaf.move for leaf in leaves if leaf.move is not None]
        self._writes: list[tuple[np.ndarray, Callable[[Any], Any]]] = list(
            zip(self._targets, getters(arrays), strict=True)
        )

    def write(self, t: int, nest: Any) -> None:
        """Copies a nest ``[B, ...]`` as step t."""
        for array, get in self._writes:
            array[t] = get(nest)

    def finish(self) -> None:
        """Completes the arrays ``[B, T, ...]``. Steps that were not written since the last time stay as they were."""
        for target, source in self._moves:
            target[...] = source


class _Leaf:
    """One array.

    Attributes:
        steps: View ``[T, B, ...]`` to write steps to.
        move: The array, and what is to be copied into it at the end. None if ``steps`` is a view of the array.
    """

    def __init__(self, array: np.ndarray) -> None:
        num_rows, num_steps, *shape = array.shape
        row_bytes = array.dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self.move: tuple[np.ndarray, np.ndarray] | None = None
        if not 0 < row_bytes <= _MAX_STAGED_BYTES:
            self.steps = array.swapaxes(0, 1)
            return
        # Steps that are a multiple of 4 KiB apart would share few places of the cache: keep them apart by one line.
        num_padded = num_rows + -(-64 // row_bytes)
        staged = np.zeros((num_steps, num_padded, *shape), array.dtype)
        self.steps = staged[:, :num_rows]
        # Each row is copied as one element, whatever its shape: NumPy's inner loops over few elements are slow.
        row = np.dtype((np.void, row_bytes))
        self.move = (
            array.reshape(num_rows, num_steps, -1).view(row)[..., 0],
            staged.reshape(num_steps, num_padded, -1).view(row)[:, :num_rows, 0].T,
        )
