"""Uniform draws between bounds, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

RandomSource = np.random.RandomState | np.random.Generator


def sampling_bounds(minimum: Any, maximum: Any, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds that random policies draw floats between; their width is the density of a draw.

    They lie within an eighth of the dtype's range, as TF-Agents limits them for tensors: numbers from the whole range
    would be too large for networks.

    Args:
        minimum: Lower bounds, an array of floats.
        maximum: Upper bounds, in the same form.
        largest: The dtype's largest number.

    Returns:
        Two float64 arrays.
    """
    return _limited(np.asarray(minimum, np.float64), np.asarray(maximum, np.float64), largest / 8)


def _limited(minimum: np.ndarray, maximum: np.ndarray, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits bounds to ``[-largest, largest]``, so that their difference does not overflow.

    If both bounds lie on the same side beyond the limit, they stay unchanged.
    """
    low, high = np.maximum(minimum, -largest), np.minimum(maximum, largest)
    beyond = low > high
    return np.where(beyond, minimum, low), np.where(beyond, maximum, high)


def draws_from_float(dtype: np.dtype, minimum: Any, maximum: Any) -> bool:
    """Returns True if random policies draw values from uniform float32 numbers, and False if from 64 random bits.

    Every engine has float32. Its 2**23 uniform numbers make few integers equally likely to one part in 2,000.

    Args:
        dtype: The values' dtype.
        minimum: Lower bounds.
        maximum: Upper bounds.
    """
    if np.issubdtype(dtype, np.integer):
        count = np.asarray(maximum).astype(object) - np.asarray(minimum).astype(object) + 1
        return bool(np.all(count <= _MANY))
    return dtype.itemsize <= 4


_MANY = 2**12


class UniformDraw:
    """Draws from ``[minimum, maximum]``, both included. The bounds are prepared once, not in every draw.

    Args:
        minimum: Lower bounds of one value, of this dtype and broadcastable to the value's shape.
        maximum: Upper bounds, in the same form.
        dtype: A float or integer dtype.
    """

    def __init__(self, minimum: np.ndarray, maximum: np.ndarray, dtype: np.dtype) -> None:
        self._dtype, self._minimum, self._maximum = dtype, minimum, maximum
        self._is_float = bool(np.issubdtype(dtype, np.floating))
        low, high = minimum, maximum
        if self._is_float:
            half = float(np.finfo(np.float64).max) / 2
            low, high = _limited(minimum.astype(np.float64), maximum.astype(np.float64), half)
        # NumPy draws faster between scalars than between arrays.
        is_uniform = bool(low.size and np.all(low == low.flat[0]) and np.all(high == high.flat[0]))
        self._low: Any = low.flat[0].item() if is_uniform else low
        self._high: Any = high.flat[0].item() if is_uniform else high
        # One past the upper bound, as a Python integer, since it may not fit the dtype.
        self._end: Any = None if self._is_float else (self._high if is_uniform else high.astype(object)) + 1

    def __call__(self, rng: RandomSource, shape: tuple[int, ...]) -> np.ndarray:
        """Draws an array of this shape."""
        if self._is_float:
            drawn = np.asarray(rng.uniform(self._low, self._high, shape)).astype(self._dtype)
            # Rounding to the dtype may exceed a bound.
            return np.asarray(np.clip(drawn, self._minimum, self._maximum))
        if isinstance(rng, np.random.Generator):
            return np.asarray(rng.integers(self._low, self._high, shape, self._dtype, endpoint=True))
        return np.asarray(rng.randint(self._low, self._end, shape, self._dtype))
