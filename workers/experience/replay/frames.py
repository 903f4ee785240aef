"""FrameColumn: stacks of image frames, of which each frame is kept once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from distpolicy.trajectories.time_step import StepType
from workers.experience.replay.columns import MOST_CHANNELS, MOST_FRAMES, Column, KeptRows, Written, copy_rows

# Frames beside one for each row: episodes begin with a whole stack.
_SPARE = 0.05
# The share of changing steps that have to shift a stack before it is taken for one.
_MOSTLY = 0.9
# Integers by their bytes.
_BITS = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}


class StackShape(NamedTuple):
    """How the frames of an observation are stacked.

    Attributes:
        axis: Dimension of the frames in an observation: the first or the last one.
        num_frames: k, the frames of an observation. The newest is the last.
        num_channels: c, the entries of a frame in this dimension, which has k groups of c.
    """

    axis: int
    num_frames: int
    num_channels: int = 1

    def frame_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of a frame as it is kept, of observations of this shape."""
        others = (*shape[: self.axis], *shape[self.axis + 1 :])
        return others if self.num_channels == 1 else (self.num_channels, *others)

    def shape(self, frame_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of observations of such frames."""
        others = frame_shape if self.num_channels == 1 else frame_shape[1:]
        return (*others[: self.axis], self.num_frames * self.num_channels, *others[self.axis :])


class FrameColumn(Column):
    """Keeps each frame once, and for each row the number of its newest frame.

    A time step whose older frames are the newer ones of the step before adds one frame, and any other adds all of its
    frames, bit for bit. So nothing depends on how an environment pads the first observations of an episode.

    Args:
        num_slots: Number of env slots.
        length: Rows of each.
        shape: Shape of an observation.
        dtype: Its dtype.
        stack: How its frames are stacked.
    """

    names = ("stack", "newest", "frames")

    def __init__(self, num_slots: int, length: int, shape: tuple[int, ...], dtype: np.dtype, stack: StackShape) -> None:
        self.shape, self.dtype = shape, dtype
        self._length, self._stack = length, stack
        self._num_frames = frames_of_slot(length, stack)
        self._frames = np.zeros((num_slots * self._num_frames, *stack.frame_shape(shape)), dtype)
        # By slot: the number of frames that were ever written. By row: the number of its newest frame.
        self._written = np.zeros(num_slots, np.int64)
        self._newest = np.zeros(num_slots * length, np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._frames.nbytes + self._written.nbytes + self._newest.nbytes

    def write(self, written: Written, values: np.ndarray) -> None:
        """Writes the observations of a rollout, ``[B, T + 1, ...]``."""
        k, c = self._stack.num_frames, self._stack.num_channels
        num_new = np.full(written.rows.shape, k)
        num_new[:, 1:][are_shifted(values, self._stack)] = 1
        num_new[written.continues, 0] = 0
        first = self._written[written.slots, None]
        newest = first + np.cumsum(num_new, axis=1) - 1
        self._written[written.slots] = newest[:, -1] + 1
        self._newest[written.rows] = newest
        slots = np.broadcast_to(written.slots[:, None], newest.shape)
        channels = np.moveaxis(values, 2 + self._stack.axis, 2)
        # A long rollout may write over its own frames.
        first_kept = newest[:, -1:] + 1 - self._num_frames
        for age in range(k):
            is_new = (num_new > age) & (newest - age >= first_kept)
            begin = (k - 1 - age) * c
            frames = channels[:, :, begin] if c == 1 else channels[:, :, begin : begin + c]
            self._frames[self._places(slots[is_new], newest[is_new] - age)] = frames[is_new]

    def take(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Puts the observations of rows together."""
        k = self._stack.num_frames
        oldest = self._newest[rows] - (k - 1)
        base = rows // self._length * self._num_frames
        places = base[:, None] + (oldest[:, None] + np.arange(k)) % self._num_frames
        channels = np.moveaxis(out, 1 + self._stack.axis, 1)
        if channels.flags.c_contiguous:
            frames = channels.reshape(len(rows) * k, *self._frames.shape[1:])
            np.take(self._frames, places.ravel(), axis=0, out=frames, mode="clip")
            return
        # The shape does not look like that of a stack; see has_frames_last.
        c = self._stack.num_channels
        for age, column in enumerate(places.T):
            channels[:, age * c : (age + 1) * c] = self._frames[column].reshape(len(rows), c, *channels.shape[2:])

    def is_lost(self, slots: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns which rows need frames that were written over: bool ``[B, N]``.

        Args:
            slots: int64 ``[B]``.
            rows: int64 ``[B, N]``: rows of each slot.
        """
        first_kept = self._written[slots] - self._num_frames
        return self._newest[rows] - (self._stack.num_frames - 1) < first_kept[:, None]

    def state(self, rows: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the frames that rows need, slot by slot and in order of time."""
        slots, numbers = self._frames_of(self._newest[rows], np.arange(len(counts)), counts)
        frames = self._frames[self._places(slots, numbers)]
        return {"stack": np.array(self._stack, np.int64), "newest": self._newest[rows], "frames": frames}

    def restore(self, state: Mapping[str, np.ndarray], kept: KeptRows) -> None:
        """Restores the frames that rows need, as far as there is room for them."""
        self._newest[kept.rows] = state["newest"][kept.is_kept]
        has_rows = kept.counts > 0
        ends = np.cumsum(kept.counts)[has_rows]
        self._written[kept.slots[has_rows]] = state["newest"][ends - 1] + 1
        slots, numbers = self._frames_of(state["newest"], kept.slots, kept.counts)
        has_room = numbers >= (self._written - self._num_frames)[slots]
        places = self._places(slots[has_room], numbers[has_room])
        copy_rows(state["frames"], np.flatnonzero(has_room), self._frames, places)

    def _frames_of(self, newest: np.ndarray, slots: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns slot and number of each frame that rows need, slot by slot and in order of time."""
        found_slots, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        end = 0
        for slot, count in zip(slots[counts > 0], counts[counts > 0], strict=True):
            begin, end = end, end + count
            numbers.append(np.arange(newest[begin] - (self._stack.num_frames - 1), newest[end - 1] + 1))
            found_slots.append(np.full(len(numbers[-1]), slot))
        return np.concatenate(found_slots), np.concatenate(numbers)

    def _places(self, slots: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Returns the indices of frames."""
        return slots * self._num_frames + numbers % self._num_frames


def frames_of_slot(length: int, stack: StackShape) -> int:
    """Returns how many frames are kept for an env slot with that many rows."""
    return math.ceil(length * (1 + _SPARE)) + stack.num_frames


def possible_stack(shape: tuple[int, ...], dtype: np.dtype) -> StackShape | None:
    """Returns how frames may be stacked in such an observation, as many as possible; None if it is not an image."""
    return max(_possible_stacks(shape, dtype), key=lambda stack: stack.num_frames, default=None)


def found_stack(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> StackShape | None:
    """Returns how frames are stacked in observations; None if they are not.

    Args:
        parts: Observations ``[B, T + 1, ...]`` and step types ``[B, T + 1]`` of rollouts.
    """
    first = parts[0][0]
    stacks = _possible_stacks(first.shape[2:], first.dtype)
    if not stacks:
        return None
    changes = []
    for values, step_type in parts:
        bits = _bits(values)
        is_same = (bits[:, 1:] == bits[:, :-1]).reshape(*step_type[:, 1:].shape, -1).all(axis=-1)
        changes.append(~is_same & (step_type[:, 1:] != StepType.FIRST))
    num_changes = sum(int(one.sum()) for one in changes)
    for stack in stacks:
        num_shifts = sum(
            int(are_shifted(values, stack)[one].sum()) for (values, _), one in zip(parts, changes, strict=True)
        )
        if num_shifts > _MOSTLY * num_changes:
            return stack
    return None


def _possible_stacks(shape: tuple[int, ...], dtype: np.dtype) -> list[StackShape]:
    """Returns all ways to stack frames of two dimensions or more: by the last dimension, then by the first one.

    Those of more frames come first: each frame of a stack of two is a frame of a stack of four.
    """
    if len(shape) < 3 or 0 in shape or dtype.itemsize not in _BITS or dtype.hasobject:
        return []
    return [
        StackShape(axis, shape[axis] // num_channels, num_channels)
        for axis in (len(shape) - 1, 0)
        for num_channels in range(1, MOST_CHANNELS + 1)
        if shape[axis] % num_channels == 0 and 2 <= shape[axis] // num_channels <= MOST_FRAMES
    ]


def are_shifted(values: np.ndarray, stack: StackShape) -> np.ndarray:
    """Returns at which time steps all frames but the newest are the newer ones of the step before: bool ``[B, T]``.

    Args:
        values: ``[B, T + 1, ...]``.
        stack: How the frames are stacked.
    """
    c = stack.num_channels
    found = []
    for steps in _bits(values):
        if stack.axis == 0:
            is_same = (steps[1:, :-c] == steps[:-1, c:]).reshape(len(steps) - 1, -1)
        else:
            # NumPy is slow along short last dimensions: entry by entry, and then without those of the newest frame.
            flat = steps.reshape(len(steps), -1)
            is_same = np.ones((len(steps) - 1, flat.shape[1]), np.bool_)
            np.equal(flat[1:, :-c], flat[:-1, c:], out=is_same[:, :-c])
            for channel in range(c):
                is_same[:, steps.shape[-1] - 1 - channel :: steps.shape[-1]] = True
        found.append(is_same.all(axis=1))
    return np.stack(found)


def _bits(values: np.ndarray) -> np.ndarray:
    """Returns values as integers: -0.0 is not 0.0, and NaN is NaN."""
    return np.ascontiguousarray(values).view(_BITS[values.dtype.itemsize])
