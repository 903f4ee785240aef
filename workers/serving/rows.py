"""RequestReader: from a client's request to the rows of a batch, checked against the policy's specs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distpolicy.serving.messages import ActRequest, Kind, ServingError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import flatten, paths, spelt

_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)
_NUMBERS = frozenset({int, float, bool})
# Bounds that were rounded to float32 on one side only.
_TOLERANCE = 1e-6


@dataclass(slots=True)
class Rows:
    """The rows of a request.

    Attributes:
        num: Number of rows, B.
        is_batch: Whether the request has a batch dimension.
        observation: For each leaf an array, ``[...]`` for a single row without a batch dimension, else ``[B, ...]``.
        first: Whether each row is the first of an episode: a bool, bool ``[B]``, or None if the request does not say.
        reward: For each leaf of the reward a float, or an array ``[...]`` or ``[B, ...]``.
        discount: A float, or float32 ``[B]``.
        state: For each leaf of the policy's state an array, like ``observation``; None if the request has none.
    """

    num: int
    is_batch: bool
    observation: list[np.ndarray]
    first: bool | np.ndarray | None
    reward: list[Any]
    discount: Any
    state: list[np.ndarray] | None


class RequestReader:
    """Reads requests.

    Args:
        time_step_spec: Array specs of one time step.
        policy_state_spec: Nest of array specs of the state.
        max_rows: The most rows that a request may have.
        check_bounds: Whether observations must lie within the bounds of their specs.
    """

    def __init__(
        self, time_step_spec: TimeStep, policy_state_spec: Any, max_rows: int, check_bounds: bool = True
    ) -> None:
        self._observation = _Nest("observation", time_step_spec.observation, check_bounds)
        self._state = _Nest("state", policy_state_spec, False)
        self._reward = _Nest("reward", time_step_spec.reward, False)
        self._no_reward = [0.0] * len(flatten(time_step_spec.reward))
        self._max_rows = max_rows

    def __call__(self, request: ActRequest) -> Rows:
        """Returns the rows of a request.

        Raises:
            ServingError: If it does not match the specs. The message names the leaf.
        """
        num, is_batch, observation = self._observation.read(request.observation)
        if num > self._max_rows:
            raise ServingError(f"a batch of {num} rows; a request may have at most {self._max_rows}", Kind.TOO_LARGE)
        state = None
        if request.state is not None:
            num_states, _, state = self._state.read(request.state, is_batch)
            if num_states != num:
                raise ServingError(f"state has {num_states} rows, and observation has {num}")
        return Rows(
            num,
            is_batch,
            observation,
            _first(request.first, num, is_batch),
            self._read_reward(request.reward, num, is_batch),
            _discount(request.discount, num, is_batch),
            state,
        )

    def _read_reward(self, value: Any, num: int, is_batch: bool) -> list[Any]:
        if value is None:
            return self._no_reward
        num_rewards, has_rows, reward = self._reward.read(value)
        if has_rows and (not is_batch or num_rewards != num):
            raise ServingError(f"reward has {num_rewards} rows, and observation has {num if is_batch else 'no batch'}")
        return reward

    def step_types(self, rows: Rows, continues: bool) -> int | np.ndarray:
        """Returns the step types of rows.

        Args:
            rows: The rows.
            continues: Whether rows go on with an episode if the request does not say.
        """
        if rows.first is None:
            return _MID if continues else _FIRST
        if isinstance(rows.first, bool):
            return _FIRST if rows.first else _MID
        return np.where(rows.first, _FIRST, _MID).astype(np.int32)


class _Nest:
    """Reads a nest of arrays by its spec."""

    def __init__(self, name: str, spec: Any, check_bounds: bool) -> None:
        self._name, self._spec = name, spec
        self._leaves = [
            _Leaf(name + path, leaf, check_bounds) for path, leaf in zip(paths(spec), flatten(spec), strict=True)
        ]

    def read(self, value: Any, is_batch: bool | None = None) -> tuple[int, bool, list[np.ndarray]]:
        """Returns the number of rows, whether there is a batch dimension, and the leaves.

        Args:
            value: The nest.
            is_batch: Whether there must be a batch dimension; None if both will do.
        """
        values = _matched(value, self._spec, self._name)
        num = -1
        arrays = []
        for leaf, item in zip(self._leaves, values, strict=True):
            array = leaf.read(item)
            extra = array.ndim - leaf.rank
            fits = extra in (0, 1) and array.shape[extra:] == leaf.shape
            if not fits or (is_batch is not None and bool(extra) != is_batch):
                raise leaf.wrong_shape(array, is_batch)
            is_batch = bool(extra)
            if is_batch:
                if num not in (-1, len(array)):
                    raise ServingError(f"{leaf.name}: {len(array)} rows, but other leaves have {num}")
                num = len(array)
            arrays.append(array)
        if num == 0:
            raise ServingError(f"{self._name}: a batch needs at least one row")
        return (num if is_batch else 1), bool(is_batch), arrays


class _Leaf:
    """Reads an array by its spec."""

    def __init__(self, name: str, spec: ArraySpec, check_bounds: bool) -> None:
        self.name, self.shape, self.rank = name, tuple(spec.shape), len(spec.shape)
        self._dtype = spec.dtype
        self._is_float = spec.dtype.kind == "f"
        self._bounds: tuple[np.ndarray, np.ndarray] | None = None
        if check_bounds and isinstance(spec, BoundedArraySpec):
            margin = _TOLERANCE * np.maximum(np.abs(spec.minimum), np.abs(spec.maximum)) if self._is_float else 0
            with np.errstate(over="ignore"):
                bounds = spec.minimum - margin, spec.maximum + margin
            info = np.finfo(spec.dtype) if self._is_float else np.iinfo(spec.dtype)
            # Infinite values are not within bounds that are the dtype's own.
            bounds = np.maximum(bounds[0], info.min), np.minimum(bounds[1], info.max)
            # The bounds of the dtype itself need no check.
            if np.any(spec.minimum > info.min) or np.any(spec.maximum < info.max):
                self._bounds = bounds

    def read(self, value: Any) -> np.ndarray:
        """Returns a value as an array of the spec's dtype.

        Raises:
            ServingError: If it has another dtype, or values that are not allowed.
        """
        given = _array(self.name, value, self._expected())
        array = given if given.dtype == self._dtype else self._converted(given)
        if self._bounds is not None and array.shape[array.ndim - self.rank :] == self.shape:
            low, high = self._bounds
            # NaN is not within bounds either.
            if not ((array >= low) & (array <= high)).all():
                raise self._not_allowed(array)
        elif self._is_float and not np.isfinite(array).all():
            raise self._not_allowed(array)
        return array

    def wrong_shape(self, array: np.ndarray, is_batch: bool | None) -> ServingError:
        """Returns the error for an array of another shape."""
        expected = list(self.shape)
        either = {None: f"{expected}, or {['B', *expected]} for a batch".replace("'", ""), False: f"{expected}"}
        wanted = either.get(is_batch, f"{['B', *expected]}".replace("'", ""))
        return ServingError(f"{self.name}: expected shape {wanted}, got {list(array.shape)}")

    def _converted(self, given: np.ndarray) -> np.ndarray:
        kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[self._dtype.kind]
        if given.dtype.kind not in kinds and given.size:
            got = {"O": "mixed values", "V": "a structure"}.get(given.dtype.kind, given.dtype)
            raise ServingError(f"{self.name}: expected {self._expected()}, got {got}")
        with np.errstate(over="ignore"):
            array = given.astype(self._dtype)
        if not self._is_float and not np.array_equal(array, given):
            raise ServingError(f"{self.name}: values that {self._dtype} cannot hold")
        return array

    def _not_allowed(self, array: np.ndarray) -> ServingError:
        """Returns the error for an array with NaN, infinite values or values outside the bounds."""
        if self._is_float and not np.isfinite(array).all():
            return ServingError(f"{self.name}: NaN or infinite values")
        assert self._bounds is not None
        low, high = (np.broadcast_to(bound, array.shape).reshape(-1) for bound in self._bounds)
        flat = array.reshape(-1)
        outside = np.flatnonzero((flat < low) | (flat > high))[0]
        return ServingError(f"{self.name}: {flat[outside]:g} is outside [{low[outside]:g}, {high[outside]:g}]")

    def _expected(self) -> str:
        return f"{self._dtype}{list(self.shape)}"


def _matched(value: Any, spec: Any, name: str) -> list[Any]:
    """Returns the leaves of a nest of plain values, in the order of the spec's."""
    if isinstance(spec, dict):
        if not isinstance(value, dict):
            raise ServingError(f"{name}: expected an object with {', '.join(map(str, sorted(spec)))}")
        found = []
        for key in sorted(spec):
            # JSON has text keys only.
            if key not in value and str(key) not in value:
                raise ServingError(f"{name}/{spelt(key)} is missing")
            found += _matched(value[key if key in value else str(key)], spec[key], f"{name}/{spelt(key)}")
        if len(value) > len(spec):
            # Without one there is a key as a number and as text.
            unknown = next((str(key) for key in value if key not in spec and key not in map(str, spec)), "twice")
            raise ServingError(f"{name}: unknown leaf {unknown[:100]!r}; there are {', '.join(map(str, sorted(spec)))}")
        return found
    if isinstance(spec, tuple | list):
        names: Sequence[Any] = getattr(spec, "_fields", range(len(spec)))
        if isinstance(value, dict) and hasattr(spec, "_fields"):
            return _matched(value, spec._asdict(), name)  # type: ignore[union-attr]  # a namedtuple
        if not isinstance(value, list | tuple) or len(value) != len(spec):
            raise ServingError(f"{name}: expected a list of {len(spec)}")
        return [
            leaf
            for key, item, child in zip(names, value, spec, strict=True)
            for leaf in _matched(item, child, f"{name}/{key}")
        ]
    return [value]


def _first(value: Any, num: int, is_batch: bool) -> bool | np.ndarray | None:
    if value is None or type(value) is bool:
        return value
    array = _array("first", value, "true or false")
    if array.dtype != np.bool_ or array.shape != ((num,) if is_batch else ()):
        raise ServingError(f"first: expected true or false{f', or {num} of them' if is_batch else ''}")
    return array if is_batch else bool(array)


def _discount(value: Any, num: int, is_batch: bool) -> Any:
    if value is None:
        return 1.0
    array = _array("discount", value, "a number")
    if array.dtype.kind not in "fiu" or array.shape not in ((), (num,) if is_batch else ()):
        raise ServingError(f"discount: expected a number{f', or {num} of them' if is_batch else ''}")
    # NaN is not within the bounds either.
    if not ((array >= 0.0) & (array <= 1.0)).all():
        raise ServingError("discount: expected a number from 0 to 1")
    return array.astype(np.float32)


def _array(name: str, value: Any, expected: str) -> np.ndarray:
    """Returns a value or nested lists of values as an array of NumPy's choice."""
    try:
        # NumPy would give each value of a list the room of the longest text: more than there is, for a short request.
        if _has_text(value):
            raise ServingError(f"{name}: expected {expected}, got text")
        return np.asarray(value)
    except RecursionError:
        raise ServingError(f"{name}: the lists are nested too deep; expected {expected}") from None
    except (ValueError, OverflowError):
        raise ServingError(f"{name}: the lists have different lengths; expected {expected}") from None


def _has_text(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return not _NUMBERS.issuperset(map(type, value)) and any(map(_has_text, value))
    return isinstance(value, str | bytes)
