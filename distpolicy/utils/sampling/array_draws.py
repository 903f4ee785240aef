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
# Numbers that are drawn at a time: their arrays stay in the CPU's second cache.
_BLOCK = 8192
_STEP, _HALF_STEP = np.float32(2.0**-23), np.float32(2.0**-24)


def _mix(z: np.ndarray) -> np.ndarray:
    """Applies SplitMix64's finaliser in place, with one scratch array; most of the cost is the number of calls."""
    scratch = np.right_shift(z, _SHIFTS[0])
    z ^= scratch
    z *= _MIX_1
    np.right_shift(z, _SHIFTS[1], out=scratch)
    z ^= scratch
    z *= _MIX_2
    np.right_shift(z, _SHIFTS[2], out=scratch)
    z ^= scratch
    return z


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
    return _mix(_mix(_keys(seed)) + counters(num))


def row_uniform(seed: np.ndarray, num: int) -> np.ndarray:
    """Draws uniform numbers in (0, 1), float32 ``[B, num]``, with a seed for each row.

    Args:
        seed: int32 ``[B, 2]``.
        num: Number of draws for each row.
    """
    keys, added = _keys(seed), counters(num)
    uniform = np.empty((len(keys), num), np.float32)
    num_rows = max(1, _BLOCK // max(1, num))
    for start in range(0, len(keys), num_rows):
        block = slice(start, start + num_rows)
        bits = _mix(_mix(keys[block]) + added)
        bits >>= _SHIFTS[3]
        part = uniform[block]
        # 23 bits are the same as a signed number, which CPUs convert faster.
        part[...] = bits.view(np.int64)
        part *= _STEP
        part += _HALF_STEP
    return uniform


def _keys(seed: np.ndarray) -> np.ndarray:
    """Returns seeds int32 ``[B, 2]`` as a copy, uint64 ``[B, 1]``."""
    return seed.copy().view(np.uint64)


def array_seed(seed: Any) -> np.ndarray:
    """Returns a stateless seed: int32 ``[2]`` for an int, and int32 ``[2]`` or ``[B, 2]`` for an array."""
    if isinstance(seed, int | np.integer):
        return np.array([int(seed) & 0xFFFFFFFFFFFFFFFF], np.uint64).view(np.int32)
    return np.asarray(seed, np.int32)


def row_seeds(seed: np.ndarray, num_rows: int) -> np.ndarray:
    """Returns a seed for each row, int32 ``[num_rows, 2]``, derived from one seed int32 ``[2]``."""
    return (np.asarray(seed, np.int32).view(np.uint64) + counters(num_rows)).view(np.int32).reshape(num_rows, 2)
