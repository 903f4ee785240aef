"""Outputs: the arrays that samples are read into."""

from __future__ import annotations

from typing import Any

import numpy as np

from workers.experience.replay.columns import zero_rows


class Outputs:
    """Arrays by name, which are made once: new memory for each sample costs as much as reading it."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    def get(self, name: str, num_rows: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Returns the array ``[num_rows, *shape]`` of this name, whose values are of no meaning; makes it once."""
        if name not in self._arrays:
            self._arrays[name] = zero_rows((num_rows,), shape, dtype)
        return self._arrays[name]
