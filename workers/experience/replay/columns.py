"""Column: one leaf of all rows of a ring.

Images whose last dimension looks like one of frames or channels have it as the first one in memory, in rings and in
samples. So a stack of frames is put together from whole frames, not pixel by pixel, and the compiled update brings the
pixels into order on its way; see :meth:`distpolicy.agents.tf_agent.TFAgent.train_steps`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

# The most frames in a stack, and the most channels of a frame.
MOST_FRAMES, MOST_CHANNELS = 16, 4
# Rows that are copied at a time.
_CHUNK_BYTES = 2**23


def has_frames_last(shape: tuple[int, ...]) -> bool:
    """Returns whether the last dimension of such a leaf is the first one in memory.

    It follows from the shape alone, since an update is compiled before the first image comes.
    """
    if len(shape) < 3 or not 2 <= shape[-1] <= MOST_FRAMES * MOST_CHANNELS or shape[-1] >= shape[0]:
        return False
    # With more dimensions a short first one is more likely the frames'.
    return len(shape) == 3 or shape[0] > MOST_FRAMES


def zero_rows(outer: tuple[int, ...], shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Returns zeros ``[*outer, *shape]``, in the memory order of such a leaf."""
    if not has_frames_last(shape):
        return np.zeros((*outer, *shape), dtype)
    return np.moveaxis(np.zeros((*outer, shape[-1], *shape[:-1]), dtype), len(outer), -1)


def in_memory_order(rows: np.ndarray) -> np.ndarray:
    """Returns rows ``[N, ...]`` of :func:`zero_rows` with their dimensions in the order of the memory."""
    return np.moveaxis(rows, -1, 1) if has_frames_last(rows.shape[1:]) else rows


def copy_rows(source: np.ndarray, from_rows: np.ndarray, target: np.ndarray, to_rows: np.ndarray) -> None:
    """Copies rows, some at a time: NumPy puts them together in further memory before it writes them."""
    step = max(1, _CHUNK_BYTES // max(1, source[:1].nbytes))
    for begin in range(0, len(from_rows), step):
        target[to_rows[begin : begin + step]] = source[from_rows[begin : begin + step]]


class Written(NamedTuple):
    """Where a rollout's time steps are written.

    Attributes:
        slots: int64 ``[B]``: the places of its env slots in the ring.
        rows: int64 ``[B, T + 1]``: the rows of its time steps. The last one is the slot's newest.
        continues: bool ``[B]``: whether the first time step was there already, as the slot's newest.
    """

    slots: np.ndarray
    rows: np.ndarray
    continues: np.ndarray


class KeptRows(NamedTuple):
    """The rows of a state, slot by slot and in order of time, and where they are now.

    Attributes:
        slots: int64 ``[slots]``: the places in the ring of the state's slots.
        counts: int64 ``[slots]``: how many rows of each slot are in the state.
        is_kept: bool ``[N]``: which of them are kept.
        rows: int64: the rows of the kept ones.
    """

    slots: np.ndarray
    counts: np.ndarray
    is_kept: np.ndarray
    rows: np.ndarray


class Column(abc.ABC):
    """Keeps a leaf of each row.

    Attributes:
        shape: Shape of the leaf in one row.
        dtype: Its dtype.
        names: The names in its state.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    names: ClassVar[tuple[str, ...]]

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Bytes of all arrays."""

    @abc.abstractmethod
    def write(self, written: Written, values: np.ndarray) -> None:
        """Writes the leaf of a rollout: ``[B, T + 1, ...]``, or ``[B, T, ...]`` if the newest step has none yet."""

    @abc.abstractmethod
    def take(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Reads rows.

        Args:
            rows: int64 ``[N]``.
            out: Array ``[N, ...]`` that takes them, from :func:`zero_rows`.
        """

    @abc.abstractmethod
    def state(self, rows: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the state of rows, by name.

        Args:
            rows: int64 ``[N]``: slot by slot, and in order of time.
            counts: int64 ``[slots]``: how many each slot has.
        """

    @abc.abstractmethod
    def restore(self, state: Mapping[str, np.ndarray], kept: KeptRows) -> None:
        """Restores a state from :meth:`state`. States come in order of time, the first one into an empty column."""


class WholeColumn(Column):
    """Keeps a leaf as it is.

    Args:
        num_rows: Number of rows.
        shape: Shape of the leaf in one row.
        dtype: Its dtype.
    """

    names = ("values",)

    def __init__(self, num_rows: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype = shape, dtype
        self.values = zero_rows((num_rows,), shape, dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.values.nbytes

    def write(self, written: Written, values: np.ndarray) -> None:
        """Writes the leaf of a rollout; zeros for a newest step without one."""
        self.values[written.rows[:, : values.shape[1]]] = values
        if values.shape[1] < written.rows.shape[1]:
            self.values[written.rows[:, -1]] = 0

    def take(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Reads rows."""
        # Without mode="clip", NumPy reads into a copy of ``out`` first.
        np.take(in_memory_order(self.values), rows, axis=0, out=in_memory_order(out), mode="clip")

    def state(self, rows: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the values of rows."""
        return {"values": self.values[rows]}

    def restore(self, state: Mapping[str, np.ndarray], kept: KeptRows) -> None:
        """Restores the values of rows."""
        copy_rows(state["values"], np.flatnonzero(kept.is_kept), self.values, kept.rows)
