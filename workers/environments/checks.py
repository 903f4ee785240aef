"""Checks of what environments return: structure, shapes, dtypes, finite numbers, and integers in their space."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distpolicy.environments.gymnasium_interface import bounds_problem, out_of_bounds, shape_problem
from distpolicy.errors import EnvironmentCrashedError
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, paths


class OutOfSpaceError(EnvironmentCrashedError):
    """An environment has returned an integer that its space does not hold. A new environment would do so again."""


def check_time_step(time_step: TimeStep, spec: TimeStep, name: str, check_bounds: bool = False) -> None:
    """Checks the time steps of a batch. It takes microseconds, so it can be called at every step.

    Args:
        time_step: Nest of arrays ``[B, ...]``.
        spec: Array specs of one environment's time step.
        name: The environment's id, for messages.
        check_bounds: Whether floats must lie within their space's bounds, too. Many environments declare bounds that
            they do not keep.

    Raises:
        OutOfSpaceError: If an integer of an observation is outside its space. ``slot`` is the row.
        EnvironmentCrashedError: If an observation or a reward is NaN or infinite, or the structure, shape or dtype of
            an observation differs from its spec. The message names the leaf; ``slot`` is the row, if it is known.
    """
    observation, specs = time_step.observation, spec.observation
    check_structure(observation, specs, name)
    for leaf, leaf_spec, path in zip(flatten(observation), flatten(specs), paths(specs), strict=True):
        _check_values(leaf, leaf_spec, f"observation{path}", name, check_bounds)
    _check_finite(time_step.reward, "reward", name)


def check_structure(observation: Any, specs: Any, name: str) -> None:
    """Checks the structure, shapes and dtypes of a batch's observations. It takes a microsecond.

    Args:
        observation: Nest of arrays ``[B, ...]``.
        specs: Nest of array specs of one environment's observation.
        name: The environment's id, for messages.

    Raises:
        EnvironmentCrashedError: If the structure, shape or dtype differs from the spec; names the leaf.
    """
    if not isinstance(specs, dict | tuple | list):
        _check_kind(observation, specs, "", name)
        return
    if paths(observation) != (expected := paths(specs)):
        raise EnvironmentCrashedError(
            f"env {name} returned an observation with the leaves {', '.join(paths(observation))}, not "
            f"{', '.join(expected)} as its observation_space says"
        )
    for leaf, leaf_spec, path in zip(flatten(observation), flatten(specs), expected, strict=True):
        _check_kind(leaf, leaf_spec, path, name)


def check_steps(observation: Any, specs: Any, reward: np.ndarray, num_steps: int, name: str) -> None:
    """Checks that the numbers of a rollout are finite, and that its integers are in their space.

    Args:
        observation: Nest of arrays ``[B, T + 1, ...]``. The observations before the first step were checked before.
        specs: Nest of array specs of one environment's observation.
        reward: float32 ``[B, T]``.
        num_steps: Number of steps that were taken, up to T.
        name: The environment's id, for messages.

    Raises:
        OutOfSpaceError: If an integer of an observation is outside its space.
        EnvironmentCrashedError: If an observation or a reward is NaN or infinite. The messages name the leaf, ``slot``
            is the row, and ``step`` is the first step of the rollout that returned such a value.
    """
    found = []
    for path, leaf, spec in zip(paths(specs), flatten(observation), flatten(specs), strict=True):
        # The step before an observation returned it.
        found += _first_bad(leaf[:, : num_steps + 1], -1, spec, f"observation{path}", name)
    found += _first_bad(reward[:, :num_steps], 0, None, "reward", name)
    if found:
        raise min(found, key=lambda error: error.step or 0)


def _first_bad(array: np.ndarray, lag: int, spec: Any, what: str, name: str) -> list[EnvironmentCrashedError]:
    """Returns the error of the first step with a value that is not valid, given ``[B, T, ...]``; or nothing."""
    is_float = array.dtype.kind == "f"
    bad = (None if _all_finite(array) else ~np.isfinite(array)) if is_float else out_of_bounds(array, spec)
    if bad is None:
        return []
    step, row, *rest = np.argwhere(bad.swapaxes(0, 1))[0].tolist()
    if is_float:
        return [EnvironmentCrashedError(_not_finite(what, name), slot=row, step=step + lag)]
    problem = bounds_problem(what, array, (row, step, *rest), spec)
    return [OutOfSpaceError(f"env {name} {problem}", slot=row, step=step + lag)]


def _check_kind(array: Any, spec: Any, path: str, name: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != spec.dtype or array.shape[1:] != spec.shape:
        row = array[0] if isinstance(array, np.ndarray) and len(array) else array
        raise EnvironmentCrashedError(f"env {name} {shape_problem(f'observation{path}', row, spec.dtype, spec.shape)}")


def _check_values(array: np.ndarray, spec: Any, what: str, name: str, check_bounds: bool) -> None:
    outside = out_of_bounds(array, spec)
    if spec.dtype.kind == "f":
        _check_finite(array, what, name)
        if check_bounds and isinstance(spec, BoundedArraySpec):
            outside = (array < spec.minimum) | (array > spec.maximum)
    if outside is not None and outside.any():
        place = np.argwhere(outside)[0].tolist()
        raise OutOfSpaceError(f"env {name} {bounds_problem(what, array, place, spec)}", slot=place[0])


def _check_finite(array: np.ndarray, what: str, name: str) -> None:
    if not _all_finite(array):
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise EnvironmentCrashedError(_not_finite(what, name), slot=row)


def _not_finite(what: str, name: str) -> str:
    return f"env {name} returned NaN or infinity as {what}"


def _all_finite(array: np.ndarray) -> bool:
    # The dot product is one reduction and needs no temporary array. It overflows for large finite numbers; then the
    # exact check decides.
    flat = array.ravel(order="K")
    return math.isfinite(np.vdot(flat, flat)) or bool(np.isfinite(array).all())
