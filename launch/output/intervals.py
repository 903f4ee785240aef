"""interval: the mean of a sample with its 95 % interval, for returns of episodes, runs and trials alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# The 97.5 % quantiles of Student's t distribution for 1, 2, … degrees of freedom, and of the normal distribution.
_T_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_NORMAL_QUANTILE = 1.959964


class Interval(NamedTuple):
    """The mean of a sample, and half the width of its 95 % interval; NaN if it has one item only."""

    mean: float
    half: float


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Returns the mean of independent values ``[N]`` and its 95 % interval by Student's t distribution."""
    sample = np.asarray(values, np.float64)
    if sample.size < 2:
        return Interval(float(sample.mean()) if sample.size else math.nan, math.nan)
    half = t_quantile(sample.size - 1) * float(sample.std(ddof=1)) / math.sqrt(sample.size)
    return Interval(float(sample.mean()), half)


def t_quantile(degrees: int) -> float:
    """Returns the 97.5 % quantile of Student's t distribution.

    Args:
        degrees: Degrees of freedom, 1 or more.
    """
    if degrees <= len(_T_QUANTILES):
        return _T_QUANTILES[degrees - 1]
    # The first terms of its series around the normal quantile: right to four digits from here on.
    z = _NORMAL_QUANTILE
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
