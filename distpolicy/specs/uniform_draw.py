"""Uniform draws from bounds, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

RandomSource = np.random.RandomState | np.random.Generator


def sampling_bounds(minimum: np.ndarray, maximum: np.ndarray, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """Bounds whose width is a finite number: those beyond ``largest`` are pulled in to there.

    Bounds that lie beyond altogether stay.
    """
    low, high = np.maximum(minimum, -largest), np.minimum(maximum, largest)
    beyond = low > high
    return np.where(beyond, minimum, low), np.where(beyond, maximum, high)


class UniformDraw:
    """Draws from ``[minimum, maximum]``, both included; what can be worked out beforehand is.

    Args:
        minimum: Lower bounds of one value, of the dtype, broadcastable to its shape.
        maximum: Upper bounds, likewise.
        dtype: A float or an integer.
    """

    def __init__(self, minimum: np.ndarray, maximum: np.ndarray, dtype: np.dtype) -> None:
        self._dtype, self._minimum, self._maximum = dtype, minimum, maximum
        self._is_float = bool(np.issubdtype(dtype, np.floating))
        low, high = minimum, maximum
        if self._is_float:
            half = float(np.finfo(np.float64).max) / 2
            low, high = sampling_bounds(minimum.astype(np.float64), maximum.astype(np.float64), half)
        # Scalars are drawn quicker than broadcast arrays.
        is_uniform = bool(np.all(low == low.flat[0]) and np.all(high == high.flat[0]))
        self._low: Any = low.flat[0].item() if is_uniform else low
        self._high: Any = high.flat[0].item() if is_uniform else high
        # One past the upper end, in Python's integers: the dtype may not hold it.
        self._end: Any = None if self._is_float else (self._high if is_uniform else high.astype(object)) + 1

    def __call__(self, rng: RandomSource, shape: tuple[int, ...]) -> np.ndarray:
        """An array of this shape, from a RandomState or a Generator."""
        if self._is_float:
            drawn = np.asarray(rng.uniform(self._low, self._high, shape)).astype(self._dtype)
            # Rounding to the dtype can step over a bound.
            return np.asarray(np.clip(drawn, self._minimum, self._maximum))
        if isinstance(rng, np.random.Generator):
            return np.asarray(rng.integers(self._low, self._high, shape, self._dtype, endpoint=True))
        return np.asarray(rng.randint(self._low, self._end, shape, self._dtype))
