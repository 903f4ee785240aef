"""Curves: smoothed, thinned, and the mean of several with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from launch.output.intervals import interval

_GRID_POINTS = 200


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Returns the mean of each value and of those before it, at most ``window`` in all.

    Args:
        values: float64 ``[N]``, finite.
        window: Number of values, 1 or more.
    """
    if not values.size:
        return values
    width = min(window, values.size)
    blocks = np.zeros((math.ceil(values.size / width), width))
    blocks.ravel()[: values.size] = values
    # A window is the end of a block and the beginning of the next one. Differences of sums over all values would lose
    # what is small after something large.
    sums = np.cumsum(blocks, axis=1)
    ends = np.cumsum(blocks[:, ::-1], axis=1)[:, ::-1]
    sums[1:, :-1] += ends[:-1, 1:]
    return sums.ravel()[: values.size] / np.minimum(np.arange(1, values.size + 1), width)


def thinned(values: np.ndarray, max_points: int) -> np.ndarray:
    """Returns the indices of points that show a curve's shape: the lowest and the highest value of each stretch.

    Args:
        values: float64 ``[N]``, finite.
        max_points: Maximum number of points, 4 or more.

    Returns:
        int64 ``[M]``, ascending, with the first and the last index.
    """
    if values.size <= max_points:
        return np.arange(values.size)
    stretches = np.array_split(np.arange(values.size), (max_points - 2) // 2)
    found = {0, values.size - 1}
    for stretch in stretches:
        found |= {int(stretch[values[stretch].argmin()]), int(stretch[values[stretch].argmax()])}
    return np.array(sorted(found))


class MeanCurve(NamedTuple):
    """The mean of several curves, float64 ``[M]`` each; ``half`` is half the width of the 95 % interval."""

    x: np.ndarray
    mean: np.ndarray
    half: np.ndarray


def mean_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> MeanCurve | None:
    """Returns the mean of curves over the stretch that all of them cover.

    Beyond it, the mean would be the mean of the runs that took longest.

    Args:
        curves: x and y of each, float64 ``[N]``; x ascends.

    Returns:
        The mean; None if the curves have no stretch in common.
    """
    begin, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if not begin < end:
        return None
    grid = np.linspace(begin, end, _GRID_POINTS)
    values = np.stack([np.interp(grid, x, y) for x, y in curves])
    found = [interval(column) for column in values.T]
    return MeanCurve(grid, np.array([one.mean for one in found]), np.array([one.half for one in found]))
