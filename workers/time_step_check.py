"""check_time_step: refuses steps that nothing can be learned from or reported of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.array_nest import flatten, paths


def check_time_step(time_step: TimeStep, spec: TimeStep, name: str, check_bounds: bool = False) -> None:
    """Checks what a batch of slots returned; takes microseconds, so that it can be done at every step.

    Args:
        time_step: Arrays ``[B, ...]``.
        spec: Array specs of one slot's time step.
        name: The environment's id, for messages.
        check_bounds: Whether observations have to lie within their space's bounds, too. Many environments are not
            exact about theirs.

    Raises:
        EnvironmentCrashedError: If an observation or a reward is NaN or infinite, or an observation has another
            structure, shape or dtype than its spec; names the leaf, and the row as ``slot`` if there is one.
    """
    observation, specs = time_step.observation, spec.observation
    if not isinstance(specs, dict | tuple | list):
        _check_leaf(observation, specs, "", name, check_bounds)
    else:
        leaves = flatten(observation)
        if paths(observation) != (expected := paths(specs)):
            raise EnvironmentCrashedError(
                f"env {name} returned the observations {', '.join(paths(observation))}, not {', '.join(expected)} as "
                "its observation_space says"
            )
        for leaf, leaf_spec, path in zip(leaves, flatten(specs), expected, strict=True):
            _check_leaf(leaf, leaf_spec, path, name, check_bounds)
    _check_finite(time_step.reward, "reward", name)


def _check_leaf(array: Any, spec: Any, path: str, name: str, check_bounds: bool) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != spec.dtype or array.shape[1:] != spec.shape:
        got = f"{array.dtype} {array.shape[1:]}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
        raise EnvironmentCrashedError(
            f"env {name} returned observation{path} as {got}, not {spec.dtype} {spec.shape} as its observation_space "
            "says"
        )
    if spec.dtype.kind == "f":
        _check_finite(array, f"observation{path}", name)
    if check_bounds and hasattr(spec, "minimum"):
        outside = (array < spec.minimum) | (array > spec.maximum)
        if outside.any():
            row = int(np.argwhere(outside)[0][0])
            raise EnvironmentCrashedError(
                f"env {name} returned observation{path} outside its bounds "
                f"[{np.min(spec.minimum):g}, {np.max(spec.maximum):g}]: {array[outside][0]:g}",
                slot=row,
            )


def _check_finite(array: np.ndarray, what: str, name: str) -> None:
    # One reduction, without an array in between; it overflows for large finite numbers, which the second look settles.
    flat = array.ravel(order="K")
    if math.isfinite(np.vdot(flat, flat)):
        return
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise EnvironmentCrashedError(f"env {name} returned NaN or infinity as {what}", slot=row)
