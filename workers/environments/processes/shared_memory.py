"""SharedMemory: the observations, actions, rewards and episode ends that the processes of a batch share."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any

import numpy as np

from distpolicy.utils.nests.array_nest import flatten

# The size of a cache line, so that two leaves never share one.
_ALIGNMENT_BYTES = 64


class SharedMemory:
    """Arrays in an unnamed file that several processes map into their memory.

    Args:
        observation_spec: Nest of array specs of one environment's observation.
        action_spec: Nest of array specs of one environment's action.
        num_slots: B, the number of env slots.
        descriptor: File descriptor of another process's shared memory; None to make a new file.

    Attributes:
        descriptor: File descriptor of the shared memory.
        observations: An array ``[B, ...]`` for each leaf of an observation.
        actions: An array ``[B, ...]`` for each leaf of an action.
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
        """Closes the file. The memory is freed with the last array."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _new_file(size: int) -> int:
    """Returns the descriptor of a new unnamed file, in /dev/shm if possible."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryFile(dir=folder) as file:
        os.ftruncate(file.fileno(), size)
        return os.dup(file.fileno())
