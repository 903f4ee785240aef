"""SharedMemory: the arrays that a batch's processes share: observations, actions, rewards and ends of episodes."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any

import numpy as np

from distpolicy.utils.nests.array_nest import flatten

# Of a cache line, so that two leaves never share one.
_ALIGNMENT_BYTES = 64


class SharedMemory:
    """Arrays in a file without a name that two or more processes have mapped.

    Args:
        observation_spec: Nest of array specs of one slot.
        action_spec: Likewise.
        num_slots: B.
        descriptor: The file of another process's memory; None to make one.

    Attributes:
        observations: ``[B, ...]`` for each leaf of an observation.
        actions: ``[B, ...]`` for each leaf of an action.
        reward: float32 ``[B]``.
        terminated: bool ``[B]``.
        truncated: bool ``[B]``.
    """

    def __init__(self, observation_spec: Any, action_spec: Any, num_slots: int, descriptor: int | None = None) -> None:
        observation_kinds = [((num_slots, *leaf.shape), leaf.dtype) for leaf in flatten(observation_spec)]
        action_kinds = [((num_slots, *leaf.shape), leaf.dtype) for leaf in flatten(action_spec)]
        per_slot = [((num_slots,), np.dtype(kind)) for kind in (np.float32, np.bool_, np.bool_)]
        kinds = [*observation_kinds, *action_kinds, *per_slot]
        offsets, size = [], 0
        for shape, dtype in kinds:
            offsets.append(size)
            num_bytes = int(np.prod(shape)) * dtype.itemsize
            size += -(-num_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        self.descriptor = _new_file(size) if descriptor is None else descriptor
        memory = mmap.mmap(self.descriptor, size)
        arrays = [
            np.ndarray(shape, dtype, memory, offset) for (shape, dtype), offset in zip(kinds, offsets, strict=True)
        ]
        num_observations = len(observation_kinds)
        self.observations, self.actions = arrays[:num_observations], arrays[num_observations:-3]
        self.reward, self.terminated, self.truncated = arrays[-3:]

    def close(self) -> None:
        """Closes the file; the memory goes with the last array."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _new_file(size: int) -> int:
    """The descriptor of a file that no folder lists, in memory where there is such a place."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryFile(dir=folder) as file:
        os.ftruncate(file.fileno(), size)
        return os.dup(file.fileno())
