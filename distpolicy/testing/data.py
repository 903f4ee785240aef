"""Random time steps within their specs, and comparing nests."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.specs import array_spec, tensor_spec
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths


def random_time_step(spec: TimeStep, batch_size: int, seed: int = 0, step_type: Any = StepType.MID) -> TimeStep:
    """A batch of time steps within their specs, as arrays ``[batch_size, ...]``.

    Args:
        spec: A TimeStep of array or tensor specs.
        batch_size: B.
        seed: Seed of the observations and rewards.
        step_type: One step type, or ``[B]`` of them.
    """
    rng = np.random.default_rng(seed)
    spec = tensor_spec.to_nest_array_spec(spec)
    return TimeStep(
        step_type=np.broadcast_to(np.asarray(step_type, np.int32), (batch_size,)).copy(),
        reward=rng.normal(size=(batch_size, *spec.reward.shape)).astype(spec.reward.dtype),
        discount=np.ones((batch_size, *spec.discount.shape), spec.discount.dtype),
        observation=map_structure(lambda leaf: random_leaf(leaf, batch_size, rng), spec.observation),
    )


def random_leaf(spec: ArraySpec, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Returns an array ``[batch_size, ...]`` within a spec."""
    shape = (batch_size, *[1 if size is None else size for size in spec.shape])
    if array_spec.is_continuous(spec):
        values = rng.normal(size=shape)
        if isinstance(spec, BoundedArraySpec):
            values = np.clip(values, spec.minimum, spec.maximum)
        return values.astype(spec.dtype)
    if isinstance(spec, BoundedArraySpec):
        low, high = spec.minimum.astype(object), spec.maximum.astype(object)
        draw = rng.integers(0, 1000, size=shape).astype(object)
        return (low + draw % (high - low + 1)).astype(spec.dtype)
    return rng.integers(0, 2, size=shape).astype(spec.dtype)


def assert_nests_close(got: Any, want: Any, tolerance: float = 1e-4) -> None:
    """Asserts that two nests of arrays or tensors are alike: structure, dtypes, shapes and, nearly, values."""
    assert paths(got) == paths(want)
    for path, left, right in zip(paths(want), flatten(got), flatten(want), strict=True):
        left, right = np.asarray(left), np.asarray(right)
        assert left.dtype == right.dtype, f"{path}: {left.dtype} instead of {right.dtype}"
        assert left.shape == right.shape, f"{path}: {left.shape} instead of {right.shape}"
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance, err_msg=path)


def rows_of(nest: Any, rows: Any) -> Any:
    """Returns some rows of each array of a nest."""
    return map_structure(lambda leaf: np.asarray(leaf)[rows], nest)


def row_seeds(batch_size: int, seed: int = 0) -> np.ndarray:
    """Returns a seed for each row: int32 ``[batch_size, 2]``."""
    return np.random.default_rng(seed).integers(2**31 - 1, size=(batch_size, 2), dtype=np.int32)
