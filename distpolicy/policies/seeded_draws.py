"""Uniform draws in NumPy with a seed for each row. RandomTFPolicy draws the same values from the same seeds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.uniform_draw import draws_from_float, sampling_bounds
from distpolicy.utils.nests.array_nest import leaf_places, map_structure
from distpolicy.utils.sampling.array_draws import row_bits, row_uniform

_LOW_HALF, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def row_choice(rows: np.ndarray) -> np.ndarray:
    """Draws a number in (0, 1) for each row: float32 ``[num_rows]``."""
    return row_uniform(rows, 1)[:, 0]


def seeded_draws(specs: Any) -> Any:
    """Returns a :class:`SeededDraw` for each spec of a nest, with its place in TensorFlow's order of leaves."""
    return map_structure(SeededDraw, specs, leaf_places(specs))


class SeededDraw:
    """Draws the values of a spec.

    Args:
        spec: A spec without open dimensions.
        place: The place of the spec in a nest.
    """

    def __init__(self, spec: ArraySpec, place: int) -> None:
        is_bool = spec.dtype == np.bool_
        has_bounds = isinstance(spec, BoundedArraySpec) or is_bool
        bounded: Any = spec if has_bounds else BoundedArraySpec(spec.shape, spec.dtype)
        self._shape = tuple(size or 0 for size in spec.shape)
        self._num = int(np.prod(self._shape))
        self._offset = np.array([0, place], np.int32) if place else None
        self._random, self._draw = _draw_of(bounded)

    def __call__(self, rows: np.ndarray, outer: tuple[int, ...]) -> np.ndarray:
        """Draws an array ``[*outer, *shape]``.

        Args:
            rows: A seed for each row, int32 ``[num_rows, 2]``.
            outer: Outer dimensions; their product is ``num_rows``.
        """
        numbers = self._random(rows if self._offset is None else rows + self._offset, self._num)
        return self._draw(numbers.reshape(outer + self._shape))


def _draw_of(spec: Any) -> tuple[Callable[[np.ndarray, int], np.ndarray], Callable[[Any], np.ndarray]]:
    """Returns the source of a draw's random numbers, and the function from these to the spec's values."""
    if spec.dtype == np.bool_:
        return row_uniform, _uniform_bools
    from_float = draws_from_float(spec.dtype, spec.minimum, spec.maximum)
    if np.issubdtype(spec.dtype, np.floating):
        low, high = sampling_bounds(spec.minimum, spec.maximum, float(np.finfo(spec.dtype).max))
        if not from_float:
            return row_bits, functools.partial(_draw_floats, spec, low, high - low)
        start, width = low.astype(np.float32), (high - low).astype(np.float32)
        return row_uniform, functools.partial(_uniform_floats, spec, start, width)
    if not from_float:
        return row_bits, _integer_draw(spec)
    count = spec.maximum.astype(object) - spec.minimum.astype(object) + 1
    return row_uniform, functools.partial(_uniform_integers, spec, np.asarray(count, np.float32))


def _uniform_bools(uniform: np.ndarray) -> np.ndarray:
    return np.asarray(uniform >= 0.5)


def _uniform_floats(spec: BoundedArraySpec, low: Any, width: Any, uniform: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip((low + uniform * width).astype(spec.dtype), spec.minimum, spec.maximum))


def _uniform_integers(spec: BoundedArraySpec, count: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    # The largest of the uniform numbers, 1 - 2**-24, times a count is below the count in float32, too.
    wide = np.uint64 if spec.dtype == np.uint64 else np.int64
    return np.asarray((uniform * count).astype(wide) + spec.minimum.astype(wide)).astype(spec.dtype)


def _draw_floats(spec: BoundedArraySpec, low: Any, width: Any, bits: np.ndarray) -> np.ndarray:
    share = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    drawn = np.asarray(low + share * width).astype(spec.dtype)
    return np.asarray(np.clip(drawn, spec.minimum, spec.maximum))


def _integer_draw(spec: BoundedArraySpec) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from uint64 bits to integers within the bounds."""
    minimum = spec.minimum.astype(object)
    count = np.asarray(spec.maximum.astype(object) - minimum + 1, object)
    # The full 64-bit range has 2**64 values, one more than uint64 can count. The bits themselves are the draw then.
    whole = np.asarray(count == 2**64, bool)
    counts = np.where(whole, 0, count).astype(np.uint64)
    lowest = np.asarray(minimum % 2**64).astype(np.uint64)
    below_32_bits = bool((count < 2**32).all())

    def draw(bits: np.ndarray) -> np.ndarray:
        if below_32_bits:
            # The upper 64 bits of the 96-bit product of the bits and the count.
            offset = ((bits >> _HALF) * counts + (((bits & _LOW_HALF) * counts) >> _HALF)) >> _HALF
        else:
            offset = np.where(whole, bits, _scaled(bits, counts))
        # In two's complement the sum wraps around to the right number, also below zero.
        return np.asarray(offset + lowest).astype(spec.dtype)

    return draw


def _scaled(bits: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns the upper 64 bits of ``bits * count``, which are uniform in ``[0, count)``."""
    bits_high, bits_low = bits >> _HALF, bits & _LOW_HALF
    count_high, count_low = count >> _HALF, count & _LOW_HALF
    middle = bits_high * count_low + ((bits_low * count_low) >> _HALF)
    last = bits_low * count_high + (middle & _LOW_HALF)
    return bits_high * count_high + (middle >> _HALF) + (last >> _HALF)
