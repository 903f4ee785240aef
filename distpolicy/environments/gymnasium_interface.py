"""Checks of what Gymnasium's ``reset`` and ``step`` take and return: the same rules for every form of environment."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.specs.gymnasium_spaces import spec_from_space

RESET = "reset(self, *, seed=None, options=None), which returns (observation, info)"
STEP = "step(self, action), which returns (observation, reward, terminated, truncated, info)"
_ASKED = {"reset": RESET, "step": STEP}


class InterfaceError(SpecMismatchError):
    """A method of an environment does not take or return what Gymnasium asks for. It fails again if it is retried.

    Its text continues ``env NAME``.

    Args:
        text: What is wrong, in one line.
        row: The row of the batch, if it is known.
    """

    def __init__(self, text: str, row: int | None = None) -> None:
        super().__init__(text)
        self.row = row


def reset_result(result: Any) -> tuple[Any, Any]:
    """Returns the observation and the info that ``reset`` returned.

    Raises:
        InterfaceError: If it returned something else, such as the observation alone.
    """
    if isinstance(result, tuple | list) and len(result) == 2 and (result[1] is None or isinstance(result[1], Mapping)):
        return result[0], result[1]
    raise InterfaceError(f"returned {_described(result)} from reset; Gymnasium asks for {RESET}")


def step_result(result: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Returns the five values that ``step`` returned.

    Raises:
        InterfaceError: If it returned something else, such as the four values of Gym before 0.26.
    """
    if type(result) is tuple and len(result) == 5:
        return result
    if isinstance(result, tuple | list) and len(result) == 5:
        return tuple(result)
    raise InterfaceError(f"returned {_described(result)} from step; Gymnasium asks for {STEP}")


def check_signatures(env: Any, name: str) -> None:
    """Checks that ``reset`` and ``step`` can be called as Gymnasium does, without calling them.

    Args:
        env: The environment with its wrappers.
        name: The environment's id, for messages.

    Raises:
        ConfigError: If a method is missing, or takes other arguments.
    """
    for call in ("reset", "step"):
        for layer, arguments in _layers(env, call):
            problem = _signature_problem(layer, call, arguments)
            if problem is not None:
                raise ConfigError(f"env {name} {problem}")
            # A wrapper of the user's may adapt an environment with another interface.
            if not _function(layer, call).__module__.startswith("gymnasium."):
                break


def call_problem(env: Any, call: str, error: BaseException) -> InterfaceError | None:
    """Returns what is wrong with a method's signature if this is why a call of it has failed.

    Args:
        env: The environment with its wrappers; None if there is none.
        call: ``reset`` or ``step``.
        error: What the call raised.
    """
    if isinstance(error, NotImplementedError) or (isinstance(error, TypeError) and "argument" in str(error)):
        for layer, arguments in _layers(env, call):
            problem = _signature_problem(layer, call, arguments)
            if problem is not None:
                return problem
    return None


def number(value: Any, what: str) -> float:
    """Returns a number, given one or an array of one element.

    Args:
        value: What the environment returned.
        what: What it is, for messages: ``reward``.

    Raises:
        InterfaceError: If it is something else.
    """
    if type(value) is float:
        return value
    try:
        if type(value) is int or isinstance(value, Fraction | Decimal):
            return float(value)
        array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "biuf":
            return float(array.item())
    except Exception:  # An object that claims to be an array may raise anything; no float holds 10**400.
        pass
    raise InterfaceError(f"returned {_value(value)} as {what}; it must be a number, or an array of one")


def flag(value: Any, what: str) -> bool:
    """Returns True or False, given one of them, 0 or 1, or an array of one element.

    Args:
        value: What the environment returned.
        what: What it is, for messages: ``terminated`` or ``truncated``.

    Raises:
        InterfaceError: If it is something else.
    """
    if type(value) is bool or type(value) is np.bool_:
        return bool(value)
    try:
        array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "biuf" and array.item() in (0, 1):
            return bool(array.item())
    except Exception:  # As above.
        pass
    raise InterfaceError(f"returned {_value(value)} as {what}; it must be True or False, or an array of one")


def numbers(values: Any, num_rows: int, what: str) -> np.ndarray:
    """Returns the numbers of a batch as float32 ``[B]``; each is what :func:`number` takes.

    Args:
        values: B numbers, as a list or an array ``[B]`` or ``[B, 1]``.
        num_rows: B.
        what: What they are, for messages.

    Raises:
        InterfaceError: If a value is not a number, with its ``row``, or there are not B of them.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind in "biuf":
            if array.shape == (num_rows,):
                return _float32(array)
            if array.size == num_rows == len(array):
                return _float32(array.reshape(num_rows))
    except Exception:  # Values of several shapes, or objects.
        pass
    return _float32(np.array([_row(number, value, what, row) for row, value in _rows(values, num_rows, what)]))


def flags(values: Any, num_rows: int, what: str) -> np.ndarray:
    """Returns the flags of a batch as bool ``[B]``; each is what :func:`flag` takes.

    Args:
        values: B flags, as a list or an array ``[B]`` or ``[B, 1]``.
        num_rows: B.
        what: What they are, for messages.

    Raises:
        InterfaceError: If a value is not a flag, with its ``row``, or there are not B of them.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "b":
        if values.shape == (num_rows,):
            return values
        if values.size == num_rows == len(values):
            return values.reshape(num_rows)
    return np.array([_row(flag, value, what, row) for row, value in _rows(values, num_rows, what)], np.bool_)


def array_of(value: Any, dtype: np.dtype, shape: tuple[int, ...], leaf: str) -> np.ndarray:
    """Returns numbers as an array of their space's dtype. Floats may be rounded; integers and bools keep their values.

    An array of another dtype, such as NumPy's float64 for a float32 space, is taken with a warning.

    Args:
        value: A number, a nest of lists, or an array of any dtype.
        dtype: The space's dtype.
        shape: The space's shape.
        leaf: The leaf, such as ``observation/camera``, for messages.

    Raises:
        InterfaceError: If the shape differs, or the dtype does not hold a value: 300 in int8, 1.5 in int64, 1e300 in
            float32.
    """
    try:
        array = np.asarray(value)
        fits = array.shape == shape and array.dtype.kind in "biuf"
    except Exception:  # As above.
        fits = False
    if not fits:
        raise shape_problem(leaf, value, dtype, shape)
    if array.dtype == dtype:
        return array
    cast, is_lost = _cast(array, dtype)
    if is_lost.any():
        raise _lost_problem(leaf, value, array[is_lost][0], dtype, shape)
    if array is value:
        _warn_of_cast(array, dtype, shape, leaf)
    return cast


def rows_of(values: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], leaf: str) -> np.ndarray:
    """Returns the rows of a batch as :func:`array_of` returns one.

    Args:
        values: Array ``[B, *shape]``. One of another shape, or without numbers, is returned as it is.
        dtype: The space's dtype.
        shape: The space's shape.
        leaf: The leaf, such as ``observation/camera``, for messages.

    Raises:
        InterfaceError: If the dtype does not hold a value, with its ``row``.
    """
    if values.dtype == dtype or values.shape[1:] != shape or values.dtype.kind not in "biuf":
        return values
    cast, is_lost = _cast(values, dtype)
    if is_lost.any():
        row = int(np.argwhere(is_lost)[0][0])
        raise _lost_problem(leaf, values[row], values[is_lost][0], dtype, shape, row)
    _warn_of_cast(values, dtype, shape, leaf)
    return cast


def out_of_bounds(array: np.ndarray, spec: Any) -> np.ndarray | None:
    """Returns where integers are outside the bounds of their space; None if they are nowhere, and for other numbers.

    Such an integer has no one-hot column, so that a network sees zeros. Floats are left alone, since many environments
    declare bounds for them that they do not keep.

    Args:
        array: Integers ``[..., *shape]``.
        spec: The array spec of one of them.

    Returns:
        bool ``[..., *shape]``, or None.
    """
    if not isinstance(spec, BoundedArraySpec) or not spec.narrows_integers:
        return None
    outside = (array < spec.minimum) | (array > spec.maximum)
    return outside if outside.any() else None


def bounds_problem(leaf: str, array: np.ndarray, place: Sequence[int], spec: BoundedArraySpec) -> InterfaceError:
    """Returns the error of a value that is outside its space's bounds.

    Args:
        leaf: The leaf, such as ``observation/camera``.
        array: Numbers ``[..., *shape]``.
        place: The value's place in the array.
        spec: The array spec of one of them.
    """
    place = tuple(place)
    low, high = (np.broadcast_to(bound, array.shape)[place].item() for bound in (spec.minimum, spec.maximum))
    return InterfaceError(f"returned {leaf} outside its bounds [{_short(low)}, {_short(high)}]: {_short(array[place])}")


def action_space_problem(space: gym.Space, action_spec: Any) -> InterfaceError | None:
    """Returns the error of an environment whose action space differs from the other environments'.

    Args:
        space: Its action space.
        action_spec: Nest of array specs of the others' actions.
    """
    if spec_from_space(space, "action") == action_spec:
        return None
    return InterfaceError(f"has the action_space {space}, and the first env another one; they must be the same")


def shape_problem(leaf: str, value: Any, dtype: Any, shape: tuple[int, ...]) -> InterfaceError:
    """Returns the error of a leaf whose shape or dtype is not its space's.

    Args:
        leaf: The leaf, such as ``observation/camera``.
        value: What the environment returned for it.
        dtype: The space's dtype.
        shape: The space's shape.
    """
    return InterfaceError(f"returned {leaf} as {kind(value)}, not {dtype} {shape} as its observation_space says")


def structure_problem(leaf: str, value: Any) -> InterfaceError:
    """Returns the error of a nest that lacks a leaf.

    Args:
        leaf: The leaf, such as ``observation/camera``.
        value: What the environment returned instead of a nest with it.
    """
    return InterfaceError(f"returned {kind(value)} instead of a nest with {leaf}; return what observation_space says")


def kind(value: Any) -> str:
    """Returns a value's dtype and shape, its keys or its type, for messages."""
    if isinstance(value, np.ndarray | np.generic):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, dict):
        return f"a dict with the keys {', '.join(map(str, value))}" if value else "an empty dict"
    return f"a {type(value).__name__}"


def _warn_of_cast(array: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], leaf: str) -> None:
    """Warns, once in a process, of an array that is cast. One without dimensions is as good as a number."""
    if shape and array.dtype.newbyteorder("=") != dtype:
        warnings.warn(f"{leaf} is {array.dtype}, and is cast to {dtype} in every step", stacklevel=3)


def _cast(array: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers in another dtype, and which of them it does not hold, bool of their shape."""
    with np.errstate(invalid="ignore", over="ignore"):
        cast = array.astype(dtype)
    if dtype.kind == "f":
        # What was not finite before is told as that.
        return cast, ~np.isfinite(cast) & np.isfinite(array)
    return cast, cast != array


def _lost_problem(
    leaf: str, value: Any, lost: Any, dtype: np.dtype, shape: tuple[int, ...], row: int | None = None
) -> InterfaceError:
    return InterfaceError(f"{shape_problem(leaf, value, dtype, shape)}: {dtype} does not hold {lost}", row)


def _layers(env: Any, call: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields an environment and what it wraps, outermost first, with the arguments that each is called with."""
    arguments: dict[str, Any] = {"seed": 0} if call == "reset" else {}
    while env is not None:
        yield env, arguments
        # Wrappers pass both on.
        arguments = {"seed": 0, "options": None} if call == "reset" else {}
        env = getattr(env, "__dict__", {}).get("env")


def _function(layer: Any, call: str) -> Any:
    method = getattr(layer, call, None)
    return getattr(method, "__func__", method)


def _signature_problem(layer: Any, call: str, arguments: dict[str, Any]) -> InterfaceError | None:
    name, function = type(layer).__name__, _function(layer, call)
    if not callable(function) or function in (gym.Env.step, gym.vector.VectorEnv.step):
        return InterfaceError(f"has no {call}: Gymnasium asks for {_ASKED[call]}")
    try:
        signature = inspect.signature(getattr(layer, call))
    except (TypeError, ValueError):  # A method of C code has no signature.
        return None
    try:
        signature.bind(*(() if call == "reset" else (0,)), **arguments)
    except TypeError as error:
        signature = signature.replace(return_annotation=inspect.Signature.empty)
        return InterfaceError(f"has {name}.{call}{signature} ({error}); Gymnasium asks for {_ASKED[call]}")
    return None


def _rows(values: Any, num_rows: int, what: str) -> list[tuple[int, Any]]:
    try:
        listed = list(values)
    except TypeError:
        listed = []
    if len(listed) != num_rows:
        raise InterfaceError(f"returned {_value(values)} as {what}; it must be an array with {num_rows} rows")
    return list(enumerate(listed))


def _row(check: Any, value: Any, what: str, row: int) -> Any:
    try:
        return check(value, what)
    except InterfaceError as error:
        raise InterfaceError(str(error), row) from None


def _described(result: Any) -> str:
    if isinstance(result, tuple | list):
        return f"{len(result)} values ({', '.join(type(value).__name__ for value in result[:6])})"
    return kind(result)


def _float32(array: np.ndarray) -> np.ndarray:
    # What float32 does not hold becomes infinite, and is told as that.
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _short(number: Any) -> str:
    return f"{number:g}" if isinstance(number, float | np.floating) else str(number)


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return kind(value)
    text = " ".join(repr(value.item() if isinstance(value, np.generic) else value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
