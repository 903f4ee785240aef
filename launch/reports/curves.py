"""The curves of runs: smoothed, overlaid by groups with their means, and the marks of what failed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from launch.reports.charts import Curve, Lines, Mark
from launch.reports.groups import Group
from launch.reports.run_data import RunData, number
from launch.reports.series import mean_curve, smoothed

# Values are smoothed over this share of a run's updates.
SMOOTHED_SHARE = 0.02

# A chart has no more marks than this; those that are near each other are one.
_MAX_MARKS = 40


class TimeUnit(NamedTuple):
    """The unit of the page's times: its name, and its seconds."""

    name: str
    seconds: float


def time_unit(runs: Sequence[RunData]) -> TimeUnit:
    """Returns a unit in which the longest run has a number that is easy to read."""
    longest = max((run.train_s or 0.0 for run in runs), default=0.0)
    if longest > 3 * 3600:
        return TimeUnit("hours", 3600.0)
    return TimeUnit("minutes", 60.0) if longest > 300 else TimeUnit("seconds", 1.0)


def smooth_curve(curve: Curve, share: float = SMOOTHED_SHARE) -> Curve:
    """Returns a curve with the mean of each value and of those before it.

    Args:
        curve: The curve; values that are NaN are left out.
        share: The share of the values that a mean is taken over.
    """
    rows = np.flatnonzero(np.isfinite(curve.y))
    window = max(int(rows.size * share), 1)
    values = smoothed(curve.y[rows], window)
    return Curve(curve.name, curve.steps[rows], curve.time[rows], values, run=curve.run)


def finite_curve(run: RunData, values: np.ndarray, share: float = 0.0) -> Curve:
    """Returns values of a run's updates without those that are NaN; the time is in seconds.

    Args:
        run: The run.
        values: float64 ``[N]``.
        share: As for :func:`smooth_curve`.
    """
    rows = np.flatnonzero(np.isfinite(values) & np.isfinite(run.steps) & np.isfinite(run.seconds))
    return smooth_curve(Curve("", run.steps[rows], run.seconds[rows], values[rows]), share)


def overlaid(
    groups: Sequence[Group], unit: TimeUnit, curve_of: Callable[[RunData], Curve], env: str | None = None
) -> Lines:
    """Returns the curves of all runs, and the mean of each group that has several.

    Args:
        groups: The groups.
        unit: The unit of times.
        curve_of: Returns the curve of a run; its time is in seconds.
        env: The environment whose runs are wanted; None for all.
    """
    main: list[Curve] = []
    faint: list[Curve] = []
    for group in groups:
        curves = [
            Curve(group.name, curve.steps, curve.time / unit.seconds, curve.y, run=run.name)
            for run in group.runs
            if env in (None, run.env) and (curve := curve_of(run)).y.size
        ]
        if len(curves) < 2:
            main += curves
            continue
        means = _means(group.name, curves)
        faint += curves if means else []
        main += means or curves
    return Lines(main, faint, names=[group.name for group in groups])


def _means(name: str, curves: Sequence[Curve]) -> list[Curve]:
    """Returns the mean of some curves over steps, and the one over time; none if they have no stretch in common."""
    found = []
    if (by_steps := mean_curve([(curve.steps, curve.y) for curve in curves])) is not None:
        nothing = np.full(by_steps.x.size, np.nan)
        found.append(Curve(name, by_steps.x, nothing, by_steps.mean, by_steps.half, "mean"))
    if (by_time := mean_curve([(curve.time, curve.y) for curve in curves])) is not None:
        nothing = np.full(by_time.x.size, np.nan)
        found.append(Curve(name, nothing, by_time.x, by_time.mean, by_time.half, "mean"))
    return found


def env_rate(run: RunData) -> np.ndarray:
    """Returns the steps a second that the environments alone would make, float64 ``[N]``: of all collectors at once."""
    steps = np.diff(run.steps, prepend=0.0) if run.steps.size else run.steps
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = steps / run.column("env_s")
    rate[~np.isfinite(rate) | (rate <= 0)] = np.nan
    # Environments of offline runs only evaluate.
    return np.full_like(rate, np.nan) if run.is_offline else rate


def marks(runs: Sequence[RunData], unit: TimeUnit) -> list[Mark]:
    """Returns the faults and restarts of runs. If there are many, those that are near each other are one mark."""
    found: list[Mark] = []
    for run in runs:
        prefix = f"{run.name}: " if len(runs) > 1 else ""
        for row in run.faults:
            steps, seconds = number(row, "steps"), number(row, "train_s")
            if math.isfinite(steps) and math.isfinite(seconds):
                text = f"{prefix}{row.get('what', '')}: {row.get('reason', '')}"
                found.append(Mark(steps, seconds / unit.seconds, text))
        for start in (run.record.get("starts") or [])[1:]:
            time = float(start.get("train_s", 0.0)) / unit.seconds
            found.append(Mark(run.steps_of_update(float(start.get("updates", 0))), time, f"{prefix}resumed"))
    return found if len(found) <= _MAX_MARKS else _merged(found)


def _merged(found: Sequence[Mark]) -> list[Mark]:
    """Returns a mark for each of some stretches of time in which there are any."""
    width = max(mark.time for mark in found) / _MAX_MARKS or 1.0
    stretches: dict[int, list[Mark]] = {}
    for mark in sorted(found, key=lambda mark: mark.time):
        stretches.setdefault(min(int(mark.time / width), _MAX_MARKS - 1), []).append(mark)
    return [
        dataclasses.replace(first, text=f"{first.text} (and {len(rest)} more)") if rest else first
        for first, *rest in stretches.values()
    ]
