"""ColumnKind: how a leaf is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from workers.experience.replay.columns import Column, WholeColumn
from workers.experience.replay.frames import FrameColumn, StackShape, frames_of_slot


class ColumnKind(NamedTuple):
    """What a column is made from.

    Attributes:
        shape: Shape of the leaf in one row.
        dtype: Its dtype.
        stack: How its frames are stacked; None if it is kept as it is.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    stack: StackShape | None

    @property
    def num_bytes(self) -> int:
        """Bytes of the leaf in one row."""
        return math.prod(self.shape) * self.dtype.itemsize

    def column_bytes(self, num_slots: int, length: int) -> int:
        """Returns the bytes of a column with that many rows for each env slot."""
        if self.stack is None:
            return num_slots * length * self.num_bytes
        numbers = np.dtype(np.int64).itemsize * length
        frames = frames_of_slot(length, self.stack) * self.num_bytes // self.stack.num_frames
        return num_slots * (numbers + frames)

    def column(self, num_slots: int, length: int) -> Column:
        """Makes a column with that many rows for each env slot."""
        if self.stack is None:
            return WholeColumn(num_slots * length, self.shape, self.dtype)
        return FrameColumn(num_slots, length, self.shape, self.dtype, self.stack)


def column_kinds(state: Mapping[str, np.ndarray]) -> dict[str, ColumnKind]:
    """Returns the kinds of the columns in the state of a ring, by path."""
    found = {}
    for name, value in state.items():
        part, _, path = name.partition("/")
        if part == "values":
            found[path] = ColumnKind(value.shape[1:], value.dtype, None)
        elif part == "frames":
            stack = StackShape(*state[f"stack/{path}"].tolist())
            found[path] = ColumnKind(stack.shape(value.shape[1:]), value.dtype, stack)
    return found
