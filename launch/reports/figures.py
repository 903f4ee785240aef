"""The charts of a report: which there are for some runs, and what is in them. A chart without data is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from launch.output.metrics import RUN_COLUMNS
from launch.reports.bar_charts import Bars, bar_chart
from launch.reports.charts import Chart, Curve, Lines, Mark, line_chart
from launch.reports.curves import SMOOTHED_SHARE, env_rate, finite_curve, marks, overlaid, smooth_curve, time_unit
from launch.reports.groups import Group
from launch.reports.run_data import RunData, number
from launch.reports.timeline import time_shares, worker_timeline

LAG_ROWS = "lag_rows/"

# Speeds vary more than other values.
_SMOOTHED_SPEED = 0.1

# A chart of speeds is logarithmic if one is this many times the other.
_LOG_RATIO = 4.0

# An evaluated return of several runs is a curve if a run has so many evaluations.
_LEAST_EVALUATIONS = 2


class Section(NamedTuple):
    """Charts under a heading."""

    title: str
    charts: list[Chart]


class Figures:
    """The charts of some runs, in groups.

    Args:
        groups: The groups; a single run is a group of its own.

    Attributes:
        groups: The groups.
        runs: The runs of all groups.
        unit: The unit of times.
        step_unit: What steps are; ``steps`` if some runs count others.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.runs = [run for group in groups for run in group.runs]
        self.unit = time_unit(self.runs)
        units = {run.step_unit for run in self.runs}
        self.step_unit = units.pop() if len(units) == 1 else "steps"
        self._is_single = len(self.runs) == 1
        self._names = [group.name for group in groups]

    def sections(self) -> list[Section]:
        """Returns all charts under their headings."""
        found: list[tuple[str, list[Chart | None]]] = [
            ("Learning", [*self.learning_curves(), *self._episodes()]),
            ("The learner", self._learner()),
            ("Speed", self._speed()),
            ("Policy lag", self._lag()),
        ]
        shown = [Section(title, [chart for chart in charts if chart is not None]) for title, charts in found]
        return [section for section in shown if section.charts]

    def learning_curves(self) -> list[Chart | None]:
        """Returns the learning curve of each environment: returns of training, evaluations, and the target."""
        if self._is_single:
            return [self._single_learning_curve()]
        envs = list(dict.fromkeys(run.env for run in self.runs))
        return [self._learning_curve(env, "Return" if len(envs) == 1 else f"Return in {env}") for env in envs]

    def _learning_curve(self, env: str, title: str) -> Chart | None:
        runs = [run for run in self.runs if run.env == env]
        targets = {run.target_return for run in runs}
        target = targets.pop() if len(targets) == 1 else None
        columns = {
            "return_mean_100": "mean return of the last 100 episodes",
            "eval_return_mean": "mean return in evaluations",
        }
        column = next((name for name in columns if any(run.last(name) is not None for run in runs)), "return_mean_100")
        lines = self._overlaid(lambda run: finite_curve(run, run.column(column)), env)
        found = marks(runs, self.unit)
        lines = dataclasses.replace(lines, marks=found, target=target)
        about = f"The {columns[column]} of each run"
        if any(len(group.runs) > 1 for group in self.groups):
            about += "; bold: the mean of a group, with its 95 % interval, as far as all its runs go"
        if target is not None and any(run.state == "solved" and (run.last(column) or 0.0) < target for run in runs):
            about += "; agents that explore while they learn reach the target in an evaluation"
        legend = tuple(
            item
            for item, group in zip(self.legend(), self.groups, strict=True)
            if any(run.env == env for run in group.runs)
        )
        legend += _legend_of(target, found)
        return line_chart(title, lines, "return", f"{about}.", is_wide=True, legend=legend)

    def _single_learning_curve(self) -> Chart | None:
        run = self.runs[0]
        target = run.target_return
        main = self._curve(run, run.column("return_mean_100"), "last 100 episodes")
        raw = self._curve(run, run.column("episode_return"), "last 100 episodes")
        points = [self._evaluations(run, policy) for policy in dict.fromkeys(row["policy"] for row in run.evaluations)]
        if not points:
            points = [
                self._curve(run, run.column(column), f"{policy} policy, evaluated")
                for policy, column in (("greedy", "eval_return_mean"), ("stochastic", "eval_stochastic_return_mean"))
            ]
        points = [curve for curve in points if np.isfinite(curve.y).any()]
        # An agent that plays no episodes while it learns has its evaluations only.
        curves = [main] if np.isfinite(main.y).any() else points
        names = [curve.name for curve in ([main, *points] if curves == [main] else points)]
        legend = tuple((name, f"--run{index}") for index, name in enumerate(names))
        about = "Thin: the mean return of the episodes that ended in an update." if curves == [main] else ""
        found = marks([run], self.unit)
        legend += _legend_of(target, found)
        lines = Lines(curves, [raw] if curves == [main] else [], points, found, target, names)
        return line_chart("Return", lines, "return", about, is_wide=True, legend=legend)

    def _evaluations(self, run: RunData, policy: str) -> Curve:
        rows = [row for row in run.evaluations if row["policy"] == policy]
        steps, time, y, half = (
            np.array([number(row, name) for row in rows]) for name in ("steps", "train_s", "return_mean", "return_half")
        )
        return Curve(f"{policy} policy, evaluated", steps, time / self.unit.seconds, y, half)

    def _episodes(self) -> list[Chart | None]:
        charts = [self._chart("episode_length", "Episode length", "steps", is_smooth=True)]
        if not self._is_single:
            charts.insert(0, self._evaluated())
        infos = dict.fromkeys(name for run in self.runs for name in run.columns if name.startswith("info/"))
        charts += [
            self._chart(name, name.removeprefix("info/"), "mean of the episodes", is_smooth=True) for name in infos
        ]
        evaluated = dict.fromkeys(name for run in self.runs for name in run.columns if name.startswith("eval_info/"))
        charts += [self._chart(name, f"{name.removeprefix('eval_info/')}, evaluated", "mean") for name in evaluated]
        return charts

    def _evaluated(self) -> Chart | None:
        """Returns the evaluations of several runs over time, beside the returns of their training."""
        column, training = "eval_return_mean", "return_mean_100"
        times = [np.isfinite(run.column(column)).sum() for run in self.runs]
        if max(times) < _LEAST_EVALUATIONS or all(run.last(training) is None for run in self.runs):
            return None
        return self._chart(column, "Return, evaluated", "return")

    def _learner(self) -> list[Chart | None]:
        titles: dict[str, str] = {"loss": "Loss"}
        replay = {
            "replay_size": "Replay size",
            "replay_memory_mib": "Memory of the replay",
            "replay_age": "Age of rows",
        }
        known = {name for name in RUN_COLUMNS if name != "loss"}
        for run in self.runs:
            titles |= dict(run.record.get("titles") or {})
            own = [
                name for name in run.columns if name not in known and "/" not in name and not name.startswith("eval_")
            ]
            titles |= {name: name.replace("_", " ").capitalize() for name in own if name not in titles | _ELSEWHERE}
        titles |= replay
        return [self._chart(name, title, _unit(name), is_smooth=True) for name, title in titles.items()]

    def _speed(self) -> list[Chart | None]:
        unit = self.step_unit
        charts = [self._throughput(unit)]
        if self._is_single:
            charts.append(worker_timeline(self.runs[0], self.unit))
        else:
            alone = self._overlaid(lambda run: finite_curve(run, env_rate(run), _SMOOTHED_SPEED))
            title = f"{unit.capitalize()} a second of the environments alone"
            charts += [line_chart(title, alone, f"{unit} / s", from_zero=True), time_shares(self.groups)]
        charts.append(self._chart("update_s", "Time of an update", "seconds", is_smooth=True, from_zero=True))
        waits = {
            "learner_wait_s": "The learner waits before an update",
            "collector_wait_s": "A collector waits before a rollout",
            "sync_s": "From new weights to acting by them",
        }
        charts += [self._chart(name, title, "seconds", True, True, after_starts=True) for name, title in waits.items()]
        return charts

    def _throughput(self, unit: str) -> Chart | None:
        if not self._is_single:
            return self._chart("steps_per_s", unit.capitalize() + " a second", f"{unit} / s", from_zero=True)
        run = self.runs[0]
        speed = self._curve(run, run.column("steps_per_s"), "the run")
        rate = smooth_curve(self._curve(run, env_rate(run), "the environments alone"), _SMOOTHED_SPEED)
        curves = [curve for curve in (speed, rate) if np.isfinite(curve.y).any()]
        legend = tuple((curve.name, f"--run{index}") for index, curve in enumerate(curves))
        about = "The environments alone: the steps by the time that was spent in them." if len(curves) > 1 else ""
        title = f"{unit.capitalize()} a second"
        values = np.concatenate([curve.y[np.isfinite(curve.y)] for curve in curves] or [np.ones(1)])
        # The environments alone are often ten times as fast.
        is_log = bool(len(curves) > 1 and values.min() > 0 and np.median(rate.y) > _LOG_RATIO * np.nanmedian(speed.y))
        return line_chart(
            title,
            Lines(curves),
            f"{unit} / s{', log scale' if is_log else ''}",
            about,
            from_zero=not is_log,
            is_wide=True,
            is_log=is_log,
            legend=legend if len(curves) > 1 else (),
        )

    def _lag(self) -> list[Chart | None]:
        charts = [
            self._lag_histogram(),
            self._chart("policy_lag_mean", "Mean policy lag", "versions", is_smooth=True, from_zero=True),
            self._chart("rows_dropped", "Rows dropped as too old", "rows", from_zero=True),
        ]
        # In lock step the next rollouts are always under way.
        if any(run.last("policy_lag_mean") is not None for run in self.runs):
            title = "Rollouts in flight"
            charts.append(self._chart("rollouts_in_flight", title, "rollouts", is_smooth=True, from_zero=True))
        return charts

    def _lag_histogram(self) -> Chart | None:
        groups = [Bars(group.name, _lags(group.runs)) for group in self.groups]
        groups = [group for group in groups if sum(group.values.values()) > 0]
        labels = sorted({label for group in groups for label in group.values}, key=int)
        # In lock step there is nothing to see.
        if not any(lag != "0" and rows for group in groups for lag, rows in group.values.items()):
            return None
        title = "Policy lag of the rows learned from"
        return bar_chart(title, groups, labels, self._names, "versions", "share of rows", "rows")

    def _chart(
        self,
        column: str,
        title: str,
        y_title: str,
        is_smooth: bool = False,
        from_zero: bool = False,
        after_starts: bool = False,
    ) -> Chart | None:
        """Returns a chart of a column of ``metrics.csv``; None if no run has values there."""
        if not any(run.last(column) is not None for run in self.runs):
            return None
        values = RunData.column_after_starts if after_starts else RunData.column
        if self._is_single:
            curve = self._curve(self.runs[0], values(self.runs[0], column), "")
            lines = Lines([smooth_curve(curve)], [curve]) if is_smooth else Lines([curve])
            return line_chart(title, lines, y_title, from_zero=from_zero)
        share = SMOOTHED_SHARE if is_smooth else 0.0
        lines = self._overlaid(lambda run: finite_curve(run, values(run, column), share))
        return line_chart(title, lines, y_title, from_zero=from_zero)

    def _curve(self, run: RunData, values: np.ndarray, name: str) -> Curve:
        return Curve(name, run.steps, run.seconds / self.unit.seconds, values)

    def _overlaid(self, curve_of: Callable[[RunData], Curve], env: str | None = None) -> Lines:
        return overlaid(self.groups, self.unit, curve_of, env)

    def legend(self) -> tuple[tuple[str, str], ...]:
        """Returns the names of the groups, with their colours and numbers of runs."""
        return tuple(
            (f"{group.name}{f' ({len(group.runs)} runs)' if len(group.runs) > 1 else ''}", f"--run{index % 8}")
            for index, group in enumerate(self.groups)
        )


def _legend_of(target: float | None, found: Sequence[Mark]) -> tuple[tuple[str, str], ...]:
    """Returns the names and colours of a learning curve's other lines."""
    shown = () if target is None else ((f"target {target:g}", "--text"),)
    return (*shown, ("fault or restart", "--alert")) if found else shown


def _lags(runs: Sequence[RunData]) -> dict[str, float]:
    """Returns the number of rows that runs have learned from, by policy lag."""
    found: dict[int, float] = {}
    for run in runs:
        for name, values in run.columns.items():
            if name.startswith(LAG_ROWS):
                lag = int(name.removeprefix(LAG_ROWS))
                found[lag] = found.get(lag, 0.0) + float(np.nansum(values))
    return {str(lag): found[lag] for lag in sorted(found)}


# Columns that have charts of their own, or that count.
_ELSEWHERE = dict.fromkeys(
    ("gradient_steps", "policy_lag_mean", "replay_lost", "rows_dropped", "sync_s", "rollouts_in_flight"), ""
)


def _unit(column: str) -> str:
    return {"replay_size": "rows", "replay_memory_mib": "MiB", "replay_age": "updates", "entropy": "nats"}.get(
        column, ""
    )
