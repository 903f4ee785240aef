"""worker_timeline: where the time of each worker of a run goes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from launch.reports.bar_charts import stacked_bars, stacked_timeline
from launch.reports.charts import Chart
from launch.reports.curves import TimeUnit
from launch.reports.groups import Group
from launch.reports.run_data import RunData, number

KINDS = ("environment", "inference", "learning", "other", "waiting")

# The columns of worker_times.csv, in the order of the kinds. A worker has no times for what it does not do.
_COLUMNS = ("env_s", "policy_s", "learn_s", "other_s", "wait_s")

_TITLE = "Where the time goes"
_WAITING = "Waiting: a collector's for new weights, the learner's for rollouts, and both for evaluations."


def worker_timeline(run: RunData, unit: TimeUnit) -> Chart | None:
    """Returns what each worker of a run does over time; None if the run does not say so."""
    table: dict[str, list[object]] = {
        name: [] for name in ("worker", "kind", "begin", "end", "low", "high", "share", "seconds")
    }
    for row in run.worker_times:
        parts = _parts(row)
        begin, end = (round(number(row, name) / unit.seconds, 4) for name in ("begin_s", "end_s"))
        if not (math.isfinite(begin) and math.isfinite(end)):
            continue  # The row is damaged.
        for kind, seconds, low, high in _stacked(parts):
            values = (row["worker"], kind, begin, end, low, high, round(high - low, 4), round(seconds, 4))
            for name, value in zip(table, values, strict=True):
                table[name].append(value)
    if not table["worker"]:
        return None
    return stacked_timeline(_TITLE, table, KINDS, unit.name, _legend(table["kind"]), _WAITING)


def time_shares(groups: Sequence[Group]) -> Chart | None:
    """Returns what the workers of each group do with their time in all; None if no run says so."""
    table: dict[str, list[object]] = {name: [] for name in ("label", "kind", "low", "high", "share", "seconds")}
    for group in groups:
        rows = [row for run in group.runs for row in run.worker_times]
        for worker, is_learner in (("learner", True), ("collectors", False)):
            of_worker = [_parts(row) for row in rows if (row["worker"] == "learner") == is_learner]
            label = f"{group.name}: {worker}" if len(groups) > 1 else worker
            for kind, seconds, low, high in _stacked(np.sum(of_worker, axis=0) if of_worker else np.zeros(len(KINDS))):
                values = (label, kind, low, high, round(high - low, 4), round(seconds, 4))
                for name, value in zip(table, values, strict=True):
                    table[name].append(value)
    if not table["label"]:
        return None
    return stacked_bars(_TITLE, table, KINDS, _legend(table["kind"]), _WAITING)


def _parts(row: dict[str, str]) -> np.ndarray:
    """Returns the seconds of each kind in a stretch, float64 ``[K]``.

    What a worker has not worked it has waited. It tells of a wait when the next work ends, which may be stretches
    later.
    """
    parts = np.nan_to_num([number(row, column) for column in _COLUMNS])
    duration_s = number(row, "end_s") - number(row, "begin_s")
    if duration_s > 0:
        parts /= _num_workers(row["worker"])
        parts[-1] = max(duration_s - parts[:-1].sum(), 0.0)
    return parts


def _num_workers(name: str) -> int:
    """Returns how many workers a row has the sums of: ``40 collectors``."""
    number_of, _, kind = name.partition(" ")
    return max(int(number_of), 1) if kind == "collectors" and number_of.isdecimal() else 1


def _stacked(parts: np.ndarray) -> list[tuple[str, float, float, float]]:
    """Returns kind, seconds, and the lower and the upper end of its part of a stack, of the kinds that have any."""
    total = float(parts.sum())
    if not total > 0:
        return []
    ends = np.cumsum(parts) / total
    return [
        (kind, float(seconds), round(float(end - seconds / total), 4), round(float(end), 4))
        for kind, seconds, end in zip(KINDS, parts, ends, strict=True)
        if seconds > 0
    ]


def _legend(used: Sequence[object]) -> tuple[tuple[str, str], ...]:
    return tuple((kind, f"--time{index}") for index, kind in enumerate(KINDS) if kind in used)
