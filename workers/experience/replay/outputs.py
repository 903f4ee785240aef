"""Outputs: the arrays that samples are read into."""

from __future__ import annotations

from typing import Any

import numpy as np


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
        if name not in self._arrays:
            self._arrays[name] = np.empty(shape, dtype)
        return self._arrays[name]
