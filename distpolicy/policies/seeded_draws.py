"""Uniform draws from a seed for each row, in NumPy; RandomTFPolicy draws the same from the same seeds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.uniform_draw import sampling_bounds
from distpolicy.utils.array_sampling import row_uniform

_LOW_HALF, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def array_seed(seed: Any) -> np.ndarray:
    """A stateless seed, int32 ``[2]`` of an int, and int32 ``[2]`` or ``[B, 2]`` of an array."""
    if isinstance(seed, int | np.integer):
        return np.array([int(seed) & 0xFFFFFFFFFFFFFFFF], np.uint64).view(np.int32)
    return np.asarray(seed, np.int32)


def row_choice(rows: np.ndarray) -> np.ndarray:
    """A number in (0, 1) for each row: float32 ``[num_rows]``."""
    return row_uniform(rows, 1)[:, 0]


def seeded_draws(specs: Any) -> Any:
    """A :class:`SeededDraw` for each spec of a nest, each with its place in TensorFlow's order of leaves."""
    places = itertools.count()

    def build(nest: Any) -> Any:
        if isinstance(nest, dict):
            built = {key: build(nest[key]) for key in sorted(nest)}
            return type(nest)({key: built[key] for key in nest})
        if isinstance(nest, tuple | list):
            children = [build(child) for child in nest]
            return type(nest)(*children) if hasattr(nest, "_fields") else type(nest)(children)
        return SeededDraw(nest, next(places))

    return build(specs)


class SeededDraw:
    """Draws the values of a spec.

    Args:
        spec: Without open dimensions.
        place: The place of the spec in a nest.
    """

    def __init__(self, spec: ArraySpec, place: int) -> None:
        is_bool = spec.dtype == np.bool_
        bounded = spec if isinstance(spec, BoundedArraySpec) or is_bool else BoundedArraySpec(spec.shape, spec.dtype)
        self._spec: Any = bounded
        self._is_bool = is_bool
        self._offset = np.array([0, place], np.int32)

    def __call__(self, rows: np.ndarray, outer: tuple[int, ...]) -> np.ndarray:
        """An array ``[*outer, *shape]``.

        Args:
            rows: int32 ``[num_rows, 2]``.
            outer: Its product is the number of rows.
        """
        spec = self._spec
        bits = _row_bits(rows + self._offset, int(np.prod(spec.shape)))
        bits = bits.reshape(outer + spec.shape)
        if self._is_bool:
            return np.asarray(bits & np.uint64(1)).astype(np.bool_)
        if np.issubdtype(spec.dtype, np.floating):
            bounds = spec.minimum.astype(np.float64), spec.maximum.astype(np.float64)
            low, high = sampling_bounds(*bounds, float(np.finfo(spec.dtype).max))
            share = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
            drawn = np.asarray(low + share * (high - low)).astype(spec.dtype)
            return np.asarray(np.clip(drawn, spec.minimum, spec.maximum))
        minimum = spec.minimum.astype(object)
        count = np.asarray(spec.maximum.astype(object) - minimum + 1, object)
        # The whole of 64 bits counts one more than they can hold; the bits are the draw then.
        whole = np.asarray(count == 2**64, bool)
        offset = np.where(whole, bits, _scaled(bits, np.where(whole, 0, count).astype(np.uint64)))
        # Two's complement: the sum wraps around to the right number, also below zero.
        return np.asarray(offset + np.asarray(minimum % 2**64).astype(np.uint64)).astype(spec.dtype)


def _row_bits(rows: np.ndarray, num: int) -> np.ndarray:
    """uint64 ``[num_rows, num]``, all 64 bits random."""
    words = (row_uniform(rows, 4 * num) * np.float32(2.0**16)).astype(np.uint64).reshape(len(rows), num, 4)
    return np.bitwise_or.reduce(words << np.array([48, 32, 16, 0], np.uint64), axis=-1)


def _scaled(bits: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The upper 64 bits of the product: uniform in ``[0, count)``."""
    bits_high, bits_low = bits >> _HALF, bits & _LOW_HALF
    count_high, count_low = count >> _HALF, count & _LOW_HALF
    middle = bits_high * count_low + ((bits_low * count_low) >> _HALF)
    last = bits_low * count_high + (middle & _LOW_HALF)
    return bits_high * count_high + (middle >> _HALF) + (last >> _HALF)
