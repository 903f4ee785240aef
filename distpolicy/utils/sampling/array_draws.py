"""The same random numbers as in :mod:`distpolicy.utils.sampling.tensor_draws`, bit for bit, but from NumPy alone."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

GAMMA = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB

_GAMMA, _MIX_1, _MIX_2 = np.uint64(GAMMA), np.uint64(MIX_1), np.uint64(MIX_2)
_SHIFTS = tuple(np.uint64(bits) for bits in (30, 27, 31, 41))
_STEP, _HALF_STEP = np.float32(2.0**-23), np.float32(2.0**-24)


def _mix(z: np.ndarray) -> np.ndarray:
    """Applies SplitMix64's finaliser in place, with one scratch array; most of the cost is the number of calls."""
    scratch = np.right_shift(z, _SHIFTS[0])
    z = np.bitwise_xor(z, scratch)
    np.multiply(z, _MIX_1, out=z)
    np.right_shift(z, _SHIFTS[1], out=scratch)
    np.bitwise_xor(z, scratch, out=z)
    np.multiply(z, _MIX_2, out=z)
    np.right_shift(z, _SHIFTS[2], out=scratch)
    return np.bitwise_xor(z, scratch, out=z)


@functools.lru_cache(maxsize=64)
def counters(num: int) -> np.ndarray:
    """Returns what is added to a row's key for each of its numbers, uint64 ``[num]``."""
    found = np.arange(1, num + 1, dtype=np.uint64) * _GAMMA
    found.setflags(write=False)
    return found


def row_bits(seed: np.ndarray, num: int) -> np.ndarray:
    """Draws uint64 ``[B, num]`` with all bits random, with a seed for each row.

    Args:
        seed: int32 ``[B, 2]``.
        num: Number of draws for each row.
    """
    key = _mix(np.ascontiguousarray(seed).view(np.uint64))
    return _mix(key + counters(num))


def row_uniform(seed: np.ndarray, num: int) -> np.ndarray:
    """Draws uniform numbers in (0, 1), float32 ``[B, num]``, with a seed for each row.

    Args:
        seed: int32 ``[B, 2]``.
        num: Number of draws for each row.
    """
    bits = row_bits(seed, num)
    np.right_shift(bits, _SHIFTS[3], out=bits)
    uniform = bits.astype(np.float32)
    uniform *= _STEP
    uniform += _HALF_STEP
    return uniform


def array_seed(seed: Any) -> np.ndarray:
    """Returns a stateless seed: int32 ``[2]`` for an int, and int32 ``[2]`` or ``[B, 2]`` for an array."""
    if isinstance(seed, int | np.integer):
        return np.array([int(seed) & 0xFFFFFFFFFFFFFFFF], np.uint64).view(np.int32)
    return np.asarray(seed, np.int32)


def row_seeds(seed: np.ndarray, num_rows: int) -> np.ndarray:
    """Returns a seed for each row, int32 ``[num_rows, 2]``, derived from one seed int32 ``[2]``."""
    return (np.asarray(seed, np.int32).view(np.uint64) + counters(num_rows)).view(np.int32).reshape(num_rows, 2)
