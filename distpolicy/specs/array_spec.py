"""Specs of NumPy arrays: shape, dtype and inclusive bounds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.uniform_draw import RandomSource, UniformDraw
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths

# Bounds of floats of this size count as infinite.
INFINITE_BOUND = 1e30


class ArraySpec:
    """The shape and dtype of an array.

    Args:
        shape: Dimensions; None for an open one.
        dtype: Anything that ``np.dtype`` takes.
        name: Name for messages only. Specs that differ only in their names are equal.
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
        """Returns True if ``array`` has this shape and dtype, and lies within the bounds, if any."""
        if isinstance(array, bool | int | float | complex):
            array = np.asarray(array)
        if not isinstance(array, np.ndarray | np.generic):
            return False
        same_rank = len(array.shape) == len(self._shape)
        return (
            same_rank
            and all(want is None or want == got for want, got in zip(self._shape, array.shape, strict=True))
            and array.dtype == self._dtype
        )

    @staticmethod
    def from_array(array: Any, name: str | None = None) -> ArraySpec:
        """Returns the spec of an array or a number.

        Raises:
            ValueError: If ``array`` is neither.
        """
        if not isinstance(array, np.ndarray | np.generic | int | float | complex):
            raise ValueError(f"from_array takes an array or a number, not {type(array).__name__}")
        return ArraySpec(np.shape(array), np.asarray(array).dtype, name)

    @staticmethod
    def from_spec(spec: Any) -> ArraySpec:
        """Returns a spec with the same shape, dtype and name, without bounds."""
        return ArraySpec(spec.shape, spec.dtype, spec.name)

    def replace(self, shape: Any = None, dtype: Any = None, name: str | None = None) -> ArraySpec:
        """Returns a copy with all arguments that are not None replaced."""
        return ArraySpec(
            self.shape if shape is None else shape,
            self.dtype if dtype is None else dtype,
            self.name if name is None else name,
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
        minimum: Lower bounds, broadcastable to ``shape``; None for the dtype's minimum.
        maximum: Upper bounds, broadcastable to ``shape``; None for the dtype's maximum.
        name: Name for messages only.

    Raises:
        SpecMismatchError: If a bound does not broadcast to the shape or fit the dtype, or a minimum exceeds its
            maximum.
        TypeError: If the dtype is neither a float nor an integer.
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
        if self._dtype.kind not in "iuf":
            raise TypeError(f"spec {name!r}: dtype {self._dtype} has no bounds; use a float or an integer dtype")
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
    def num_values(self) -> Any:
        """Number of values that each element of a discrete spec can take, int64 of the spec's shape; None for floats.

        Raises:
            SpecMismatchError: If the number does not fit an int64.
        """
        if not is_discrete(self):
            return None
        minimum, maximum = self._minimum.astype(object), np.broadcast_to(self._maximum, _closed(self)).astype(object)
        count = np.asarray(maximum - minimum + 1)
        if np.any(count > np.iinfo(np.int64).max):
            raise SpecMismatchError(f"spec {self.name!r} has {np.max(count)} values, more than an int64 can count")
        return count.astype(np.int64)

    @staticmethod
    def from_spec(spec: Any, name: str | None = None) -> BoundedArraySpec:
        """Returns a bounded spec with the bounds of ``spec``, or with its dtype's if it has none.

        Args:
            spec: An array spec, or another spec with a NumPy dtype.
            name: Name of the new spec; None for the same.
        """
        return BoundedArraySpec(
            spec.shape,
            spec.dtype,
            getattr(spec, "minimum", None),
            getattr(spec, "maximum", None),
            spec.name if name is None else name,
        )

    def replace(  # type: ignore[override]  # the order of arguments is TF-Agents'
        self,
        shape: Any = None,
        dtype: Any = None,
        minimum: Any = None,
        maximum: Any = None,
        name: str | None = None,
    ) -> BoundedArraySpec:
        """Returns a copy with all arguments that are not None replaced."""
        return BoundedArraySpec(
            self.shape if shape is None else shape,
            self.dtype if dtype is None else dtype,
            self.minimum if minimum is None else minimum,
            self.maximum if maximum is None else maximum,
            self.name if name is None else name,
        )

    @functools.cached_property
    def narrows_integers(self) -> bool:
        """Whether the dtype is an integer that holds values outside the bounds."""
        if self._dtype.kind == "f":
            return False
        limits = np.iinfo(self._dtype)
        return bool(np.any(self._minimum > limits.min) or np.any(self._maximum < limits.max))

    @functools.cached_property
    def uniform_draw(self) -> UniformDraw:
        """A function that draws uniformly between the bounds."""
        return UniformDraw(self._minimum, self._maximum, self._dtype)

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
    """Returns True if the spec has bounds."""
    return isinstance(spec, BoundedArraySpec)


def is_discrete(spec: Any) -> bool:
    """Returns True if the spec's dtype is an integer."""
    return bool(np.issubdtype(spec.dtype, np.integer))


def is_continuous(spec: Any) -> bool:
    """Returns True if the spec's dtype is a float."""
    return bool(np.issubdtype(spec.dtype, np.floating))


def sample_bounded_spec(spec: BoundedArraySpec, rng: RandomSource) -> np.ndarray:
    """Draws uniformly between the bounds, both included.

    Args:
        spec: The spec to draw a value for. Bounds of a float64 are limited to half of the dtype's largest number.
        rng: ``np.random.RandomState`` or ``np.random.Generator``.

    Returns:
        An array of the spec's shape and dtype.
    """
    return spec.uniform_draw(rng, _known_shape(spec))


def sample_spec_nest(structure: Any, rng: RandomSource, outer_dims: Sequence[int] = ()) -> Any:
    """Draws uniformly for each spec of a nest, in the nest's order.

    Args:
        structure: Nest of array specs. A spec without bounds has its dtype's.
        rng: ``np.random.RandomState`` or ``np.random.Generator``.
        outer_dims: Dimensions to add before each shape.

    Raises:
        SpecMismatchError: If a dimension of a spec is open.
        TypeError: If a leaf is not an array spec, or values of its dtype cannot be drawn.
    """
    outer = tuple(int(size) for size in outer_dims)

    def draw(spec: Any) -> np.ndarray:
        if not isinstance(spec, ArraySpec):
            raise TypeError(f"sample_spec_nest takes array specs, not {type(spec).__name__}")
        shape = outer + _known_shape(spec)
        if spec.dtype == np.bool_:
            return UniformDraw(np.asarray(0, np.uint8), np.asarray(1, np.uint8), np.dtype(np.uint8))(rng, shape) == 1
        bounded = spec if isinstance(spec, BoundedArraySpec) else BoundedArraySpec.from_spec(spec)
        return bounded.uniform_draw(rng, shape)

    return map_structure(draw, structure)


def _known_shape(spec: ArraySpec) -> tuple[int, ...]:
    if None in spec.shape:
        raise SpecMismatchError(f"cannot draw from spec {spec.name!r} of shape {spec.shape}; give all its dimensions")
    return spec.shape  # type: ignore[return-value]


def add_outer_dims_nest(structure: Any, outer_dims: Sequence[int | None]) -> Any:
    """Returns the array specs with ``outer_dims`` added before each shape. Bounds stay unchanged and broadcast."""
    return map_structure(lambda spec: spec.replace(shape=(*outer_dims, *spec.shape)), structure)


def check_arrays_nest(arrays: Any, spec: Any) -> bool:
    """Returns True if a nest of arrays has the specs' structure, and each array its spec's shape, dtype and bounds."""
    try:
        assert_arrays_spec_nest(arrays, spec)
    except (TypeError, ValueError):
        return False
    return True


def assert_arrays_spec_nest(arrays: Any, spec: Any) -> None:
    """Raises an error if :func:`check_arrays_nest` returns False.

    Args:
        arrays: Nest of arrays.
        spec: Nest of array specs.

    Raises:
        TypeError: If a container has another type. The message names its place.
        ValueError: If lengths, keys, or an array's shape, dtype or values do not match. The message names the array.
    """
    _assert_alike(arrays, spec, "")
    for path, array, leaf in zip(paths(spec), flatten(arrays), flatten(spec), strict=True):
        if not leaf.check_array(array):
            got = f"{array.dtype} {array.shape}" if hasattr(array, "dtype") else type(array).__name__
            raise ValueError(f"array{path}: expected {leaf}, got {got}: {array}")


def _assert_alike(nest: Any, expected: Any, path: str) -> None:
    kinds = [dict if isinstance(item, dict) else type(item) for item in (nest, expected)]
    nested = [isinstance(item, dict | list | tuple) for item in (nest, expected)]
    if nested[0] != nested[1] or (nested[0] and kinds[0] is not kinds[1]):
        raise TypeError(f"array{path}: expected {type(expected).__name__}, got {type(nest).__name__}")
    if not nested[0]:
        return
    keys, wanted = (sorted(item) if isinstance(item, dict) else list(range(len(item))) for item in (nest, expected))
    if keys != wanted:
        raise ValueError(f"array{path}: expected entries {wanted}, got {keys}")
    for key in wanted:
        _assert_alike(nest[key], expected[key], f"{path}/{key}")
