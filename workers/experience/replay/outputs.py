"""Outputs: the arrays that samples are read into."""

from __future__ import annotations

from typing import Any

import numpy as np

# Tensors may share the memory of arrays that are aligned so, instead of copying them.
_ALIGNMENT_BYTES = 64


class Outputs:
    """Arrays by name, which are made once: new memory for each sample costs as much as reading it."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    def get(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Returns the array of this name, whose values are of no meaning; makes it the first time."""
        array = self._arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            array = self._arrays[name] = _aligned(shape, np.dtype(dtype))
        return array


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    num_bytes = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(num_bytes + _ALIGNMENT_BYTES, np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT_BYTES
    return memory[offset : offset + num_bytes].view(dtype).reshape(shape)
