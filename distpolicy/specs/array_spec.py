"""Specs of NumPy arrays: shape, dtype, and bounds that include both ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distpolicy.errors import SpecMismatchError


class ArraySpec:
    """The shape and dtype of an array.

    Args:
        shape: Dimensions; ``None`` for one that is open.
        dtype: Anything that ``np.dtype`` takes.
        name: For messages only; two specs that differ in nothing else are equal.
    """

    def __init__(self, shape: Sequence[int | None], dtype: Any, name: str | None = None) -> None:
        self._shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._name = name

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The dimensions."""
        return self._shape

    @property
    def dtype(self) -> np.dtype:
        """The NumPy dtype."""
        return self._dtype

    @property
    def name(self) -> str | None:
        """The name, for messages."""
        return self._name

    def check_array(self, array: Any) -> bool:
        """Whether ``array`` has this shape and dtype (and lies within the bounds, if any)."""
        if not isinstance(array, np.ndarray | np.generic):
            return False
        same_rank = len(array.shape) == len(self._shape)
        return (
            same_rank
            and all(want is None or want == got for want, got in zip(self._shape, array.shape, strict=True))
            and array.dtype == self._dtype
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ArraySpec):
            return NotImplemented
        return type(self) is type(other) and self.shape == other.shape and self.dtype == other.dtype

    __hash__ = None  # type: ignore[assignment]  # bounds are arrays, as in TF-Agents

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self._shape}, dtype={self._dtype}, name={self._name!r})"


class BoundedArraySpec(ArraySpec):
    """An :class:`ArraySpec` whose values lie in ``[minimum, maximum]``, both included.

    Args:
        shape: Dimensions.
        dtype: Anything that ``np.dtype`` takes.
        minimum: Lower bounds, broadcast to ``shape``; the dtype's own if None.
        maximum: Upper bounds, likewise.
        name: For messages only.

    Raises:
        SpecMismatchError: If a bound does not broadcast to the shape, or a minimum exceeds its
            maximum.
    """

    def __init__(
        self,
        shape: Sequence[int | None],
        dtype: Any,
        minimum: Any = None,
        maximum: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(shape, dtype, name)
        info = np.finfo(self._dtype) if np.issubdtype(self._dtype, np.floating) else np.iinfo(self._dtype)
        # Infinite bounds become the dtype's largest numbers, so that clipping and sampling stay finite.
        self._minimum = _bound(info.min if minimum is None else minimum, self, float(info.min), float(info.max))
        self._maximum = _bound(info.max if maximum is None else maximum, self, float(info.min), float(info.max))
        if np.any(self._minimum > self._maximum):
            raise SpecMismatchError(f"spec {name!r}: minimum {minimum} exceeds maximum {maximum}")

    @property
    def minimum(self) -> np.ndarray:
        """Lower bounds, broadcastable to the shape; read-only."""
        return self._minimum

    @property
    def maximum(self) -> np.ndarray:
        """Upper bounds, broadcastable to the shape; read-only."""
        return self._maximum

    @property
    def num_values(self) -> np.ndarray:
        """How many values each element of a discrete spec can take.

        Raises:
            SpecMismatchError: If the spec is not discrete.
        """
        if not is_discrete(self):
            raise SpecMismatchError(f"spec {self.name!r} of dtype {self.dtype} is not discrete; it has no num_values")
        minimum, maximum = self._minimum.astype(object), np.broadcast_to(self._maximum, _closed(self)).astype(object)
        return np.asarray(maximum - minimum + 1, np.int64)

    def check_array(self, array: Any) -> bool:
        return (
            super().check_array(array) and bool(np.all(array >= self._minimum)) and bool(np.all(array <= self._maximum))
        )

    def __eq__(self, other: object) -> bool:
        equal = super().__eq__(other)
        if equal is not True:
            return equal
        assert isinstance(other, BoundedArraySpec)
        return bool(np.all(self._minimum == other._minimum) and np.all(self._maximum == other._maximum))

    __hash__ = None

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, minimum={self._minimum}, maximum={self._maximum})"


def _closed(spec: ArraySpec) -> tuple[int, ...]:
    return tuple(1 if size is None else size for size in spec.shape)


def _bound(value: Any, spec: ArraySpec, smallest: float, largest: float) -> np.ndarray:
    bound = np.asarray(value)
    if np.any(np.isnan(bound)):
        raise SpecMismatchError(f"spec {spec.name!r}: bound {value} is not a number")
    if np.issubdtype(spec.dtype, np.floating):
        bound = np.clip(bound, smallest, largest)
    elif np.any(bound < smallest) or np.any(bound > largest):
        raise SpecMismatchError(f"spec {spec.name!r}: bound {value} does not fit dtype {spec.dtype}")
    bound = bound.astype(spec.dtype)
    try:
        np.broadcast_to(bound, _closed(spec))
    except ValueError:
        raise SpecMismatchError(
            f"spec {spec.name!r}: bound of shape {bound.shape} does not broadcast to {spec.shape}"
        ) from None
    bound.setflags(write=False)
    return bound


def is_bounded(spec: Any) -> bool:
    """Whether the spec has bounds."""
    return isinstance(spec, BoundedArraySpec)


def is_discrete(spec: Any) -> bool:
    """Whether the spec's dtype is an integer."""
    return bool(np.issubdtype(spec.dtype, np.integer))


def is_continuous(spec: Any) -> bool:
    """Whether the spec's dtype is a float."""
    return bool(np.issubdtype(spec.dtype, np.floating))
