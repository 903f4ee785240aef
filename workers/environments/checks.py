"""Checks of what environments return: structure, shapes, dtypes, and finite numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distpolicy.environments.gymnasium_interface import shape_problem
from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, paths


def check_time_step(time_step: TimeStep, spec: TimeStep, name: str, check_bounds: bool = False) -> None:
    """Checks the time steps of a batch. It takes microseconds, so it can be called at every step.

    Args:
        time_step: Nest of arrays ``[B, ...]``.
        spec: Array specs of one environment's time step.
        name: The environment's id, for messages.
        check_bounds: Whether observations must lie within their space's bounds, too. Many environments declare
            bounds that they do not keep.

    Raises:
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


def check_finite_steps(observation: Any, reward: np.ndarray, name: str) -> None:
    """Checks that the observations and rewards of a whole rollout are finite.

    Args:
        observation: Nest of arrays ``[B, T + 1, ...]``. The observations before the first step were checked before.
        reward: float32 ``[B, T]``.
        name: The environment's id, for messages.

    Raises:
        EnvironmentCrashedError: If an observation or a reward is NaN or infinite. The message names the leaf, ``slot``
            is the row, and ``step`` is the first step of the rollout that returned such a value.
    """
    found = []
    for path, array, lag in [
        *((f"observation{path}", leaf, 1) for path, leaf in zip(paths(observation), flatten(observation), strict=True)),
        ("reward", reward, 0),
    ]:
        if array.dtype.kind == "f" and not _all_finite(array):
            bad = ~np.isfinite(array).reshape(*array.shape[:2], -1).all(axis=2)
            step, row = np.argwhere(bad.T)[0].tolist()
            found.append((step - lag, row, path))
    if found:
        step, row, what = min(found, key=lambda place: place[0])
        raise EnvironmentCrashedError(f"env {name} returned NaN or infinity as {what}", slot=row, step=step)


def _check_kind(array: Any, spec: Any, path: str, name: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != spec.dtype or array.shape[1:] != spec.shape:
        row = array[0] if isinstance(array, np.ndarray) and len(array) else array
        raise EnvironmentCrashedError(f"env {name} {shape_problem(f'observation{path}', row, spec.dtype, spec.shape)}")


def _check_values(array: np.ndarray, spec: Any, what: str, name: str, check_bounds: bool) -> None:
    if spec.dtype.kind == "f":
        _check_finite(array, what, name)
    if check_bounds and hasattr(spec, "minimum"):
        outside = (array < spec.minimum) | (array > spec.maximum)
        if outside.any():
            row = int(np.argwhere(outside)[0][0])
            raise EnvironmentCrashedError(
                f"env {name} returned {what} outside its bounds "
                f"[{np.min(spec.minimum):g}, {np.max(spec.maximum):g}]: {array[outside][0]:g}",
                slot=row,
            )


def _check_finite(array: np.ndarray, what: str, name: str) -> None:
    if not _all_finite(array):
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise EnvironmentCrashedError(f"env {name} returned NaN or infinity as {what}", slot=row)


def _all_finite(array: np.ndarray) -> bool:
    # The dot product is one reduction and needs no temporary array. It overflows for large finite numbers; then the
    # exact check decides.
    flat = array.ravel(order="K")
    return math.isfinite(np.vdot(flat, flat)) or bool(np.isfinite(array).all())
