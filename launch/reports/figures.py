"""The charts of a report: which there are for some runs, and what is in them. A chart without data is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from launch.output.metrics import RUN_COLUMNS
from launch.reports.charts import Chart, Curve, Lines, Mark, bar_chart, line_chart, stacked_timeline
from launch.reports.groups import Group
from launch.reports.run_data import RunData, number
from launch.reports.series import mean_curve, smoothed

LAG_ROWS = "lag_rows/"

# Values are smoothed over this share of a run's updates.
_SMOOTHED_SHARE = 0.02
_SMOOTHED_SPEED = 0.1

# A chart of speeds is logarithmic if one is this many times the other.
_LOG_RATIO = 4.0

_KINDS = ("environment", "inference", "learning", "other", "waiting")


class TimeUnit(NamedTuple):
    """The unit of the page's times: its name, and its seconds."""

    name: str
    seconds: float


class Section(NamedTuple):
    """Charts under a heading."""

    title: str
    charts: list[Chart]


def time_unit(runs: Sequence[RunData]) -> TimeUnit:
    """Returns a unit in which the longest run has a number that is easy to read."""
    longest = max((run.last("train_s") or 0.0 for run in runs), default=0.0)
    if longest > 3 * 3600:
        return TimeUnit("hours", 3600.0)
    return TimeUnit("minutes", 60.0) if longest > 300 else TimeUnit("seconds", 1.0)


class Figures:
    """The charts of some runs, in groups.

    Args:
        groups: The groups; a single run is a group of its own.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.runs = [run for group in groups for run in group.runs]
        self.unit = time_unit(self.runs)
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
        lines = self._overlaid(lambda run: _finite(run, column), env)
        lines = Lines(lines.main, lines.faint, target=target, names=self._names)
        about = f"The {columns[column]} of each run"
        if any(len(group.runs) > 1 for group in self.groups):
            about += "; bold: the mean of a group, with its 95 % interval, as far as all its runs go"
        legend = tuple(
            item
            for item, group in zip(self.legend(), self.groups, strict=True)
            if any(run.env == env for run in group.runs)
        )
        if target is not None:
            legend = (*legend, (f"target {target:g}", "--text"))
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
        if target is not None:
            legend = (*legend, (f"target {target:g}", "--text"))
        if marks := self.marks(run):
            legend = (*legend, ("fault or restart", "--alert"))
        lines = Lines(curves, [raw] if curves == [main] else [], points, marks, target, names)
        return line_chart("Return", lines, "return", about, is_wide=True, legend=legend)

    def _evaluations(self, run: RunData, policy: str) -> Curve:
        rows = [row for row in run.evaluations if row["policy"] == policy]
        steps, time, y, half = (
            np.array([number(row, name) for row in rows]) for name in ("steps", "train_s", "return_mean", "return_half")
        )
        return Curve(f"{policy} policy, evaluated", steps, time / self.unit.seconds, y, half)

    def marks(self, run: RunData) -> list[Mark]:
        """Returns the faults and restarts of a run."""
        found = []
        for row in run.faults:
            update = number(row, "update")
            what = f"{row.get('what', '')}: {row.get('reason', '')}"
            found.append(Mark(run.steps_of_update(update), run.seconds_of_update(update) / self.unit.seconds, what))
        for start in (run.record.get("starts") or [])[1:]:
            time = float(start.get("train_s", 0.0)) / self.unit.seconds
            found.append(Mark(run.steps_of_update(float(start.get("updates", 0))), time, "resumed"))
        return found

    def _episodes(self) -> list[Chart | None]:
        charts = [self._chart("episode_length", "Episode length", "steps", is_smooth=True)]
        infos = dict.fromkeys(name for run in self.runs for name in run.columns if name.startswith("info/"))
        charts += [
            self._chart(name, name.removeprefix("info/"), "mean of the episodes", is_smooth=True) for name in infos
        ]
        evaluated = dict.fromkeys(name for run in self.runs for name in run.columns if name.startswith("eval_info/"))
        charts += [self._chart(name, f"{name.removeprefix('eval_info/')}, evaluated", "mean") for name in evaluated]
        return charts

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
        unit = self.runs[0].step_unit
        charts = [self._throughput(unit)]
        if self._is_single:
            charts.append(self._worker_times(self.runs[0]))
        charts += [
            self._chart("update_s", "Time of an update", "seconds", is_smooth=True, from_zero=True),
            self._chart(
                "learner_wait_s", "The learner waits before an update", "seconds", is_smooth=True, from_zero=True
            ),
            self._chart(
                "collector_wait_s", "A collector waits before a rollout", "seconds", is_smooth=True, from_zero=True
            ),
        ]
        charts.append(self._chart("sync_s", "From new weights to acting by them", "seconds", True, True))
        return charts

    def _throughput(self, unit: str) -> Chart | None:
        if not self._is_single:
            return self._chart("steps_per_s", unit.capitalize() + " a second", f"{unit} / s", from_zero=True)
        run = self.runs[0]
        speed = self._curve(run, run.column("steps_per_s"), "the run")
        rate = _smooth(self._curve(run, _env_rate(run), "the environments alone"), _SMOOTHED_SPEED)
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

    def _worker_times(self, run: RunData) -> Chart | None:
        """Returns where the time of each worker goes."""
        table: dict[str, list[object]] = {
            name: [] for name in ("worker", "kind", "begin", "end", "low", "high", "share", "seconds")
        }
        for row in run.worker_times:
            # A worker has no times for what it does not do.
            columns = ("env_s", "policy_s", "learn_s", "other_s", "wait_s")
            parts = np.nan_to_num([number(row, column) for column in columns]).tolist()
            total = sum(parts)
            if not total > 0:
                continue
            low = 0.0
            for kind, seconds in zip(_KINDS, parts, strict=True):
                if seconds <= 0:
                    continue
                high = low + seconds / total
                begin, end = (round(number(row, name) / self.unit.seconds, 4) for name in ("begin_s", "end_s"))
                values = (
                    row["worker"],
                    kind,
                    begin,
                    end,
                    round(low, 4),
                    round(high, 4),
                    round(high - low, 4),
                    round(seconds, 4),
                )
                for name, value in zip(table, values, strict=True):
                    table[name].append(value)
                low = high
        if not table["worker"]:
            return None
        used = [kind for kind in _KINDS if kind in table["kind"]]
        legend = tuple((kind, f"--time{_KINDS.index(kind)}") for kind in used)
        about = "Waiting: a collector's for new weights, the learner's for rollouts, and both for evaluations."
        return stacked_timeline("Where the time goes", table, _KINDS, self.unit.name, legend, about)

    def _lag(self) -> list[Chart | None]:
        charts = [self._lag_histogram()]
        charts += [
            self._chart("policy_lag_mean", "Mean policy lag", "versions", is_smooth=True, from_zero=True),
            self._chart("rows_dropped", "Rows dropped as too old", "rows", from_zero=True),
            self._chart("rollouts_in_flight", "Rollouts in flight", "rollouts", is_smooth=True, from_zero=True),
        ]
        return charts

    def _lag_histogram(self) -> Chart | None:
        if not self._is_single:
            return None
        run = self.runs[0]
        counts = {
            name.removeprefix(LAG_ROWS): float(np.nansum(values))
            for name, values in run.columns.items()
            if name.startswith(LAG_ROWS)
        }
        if not sum(counts.values()):
            return None
        return bar_chart(
            "Policy lag of the rows learned from", list(counts), list(counts.values()), "versions", "share of rows"
        )

    def _chart(
        self, column: str, title: str, y_title: str, is_smooth: bool = False, from_zero: bool = False
    ) -> Chart | None:
        """Returns a chart of a column of ``metrics.csv``; None if no run has values there."""
        if not any(run.last(column) is not None for run in self.runs):
            return None
        if self._is_single:
            curve = self._curve(self.runs[0], self.runs[0].column(column), "")
            lines = Lines([_smooth(curve)], [curve]) if is_smooth else Lines([curve])
            return line_chart(title, lines, y_title, from_zero=from_zero)
        lines = self._overlaid(lambda run: _finite(run, column, is_smooth))
        return line_chart(title, Lines(lines.main, lines.faint, names=self._names), y_title, from_zero=from_zero)

    def _curve(self, run: RunData, values: np.ndarray, name: str) -> Curve:
        return Curve(name, run.steps, run.seconds / self.unit.seconds, values)

    def _overlaid(self, curve_of: Callable[[RunData], Curve], env: str | None = None) -> Lines:
        """Returns the curves of all runs, or of those of an environment, and the mean of each group."""
        main, faint = [], []
        for group in self.groups:
            runs = [run for run in group.runs if env in (None, run.env)]
            curves = [
                Curve(group.name, curve.steps, curve.time / self.unit.seconds, curve.y, run=run.name)
                for run in runs
                if (curve := curve_of(run)).y.size
            ]
            if len(curves) < 2:
                main += curves
                continue
            by_steps = mean_curve([(curve.steps, curve.y) for curve in curves])
            by_time = mean_curve([(curve.time, curve.y) for curve in curves])
            means = []
            if by_steps is not None:
                nothing = np.full(by_steps.x.size, np.nan)
                means.append(Curve(group.name, by_steps.x, nothing, by_steps.mean, by_steps.half, "mean"))
            if by_time is not None:
                nothing = np.full(by_time.x.size, np.nan)
                means.append(Curve(group.name, nothing, by_time.x, by_time.mean, by_time.half, "mean"))
            faint += curves
            main += means or curves
        return Lines(main, faint)

    def legend(self) -> tuple[tuple[str, str], ...]:
        """Returns the names of the groups, with their colours and numbers of runs."""
        return tuple(
            (f"{group.name}{f' ({len(group.runs)} runs)' if len(group.runs) > 1 else ''}", f"--run{index % 8}")
            for index, group in enumerate(self.groups)
        )


# Columns that have charts of their own, or that count.
_ELSEWHERE = dict.fromkeys(("gradient_steps", "policy_lag_mean", "rows_dropped", "sync_s", "rollouts_in_flight"), "")


def _unit(column: str) -> str:
    return {"replay_size": "rows", "replay_memory_mib": "MiB", "replay_age": "updates", "entropy": "nats"}.get(
        column, ""
    )


def _smooth(curve: Curve, share: float = _SMOOTHED_SHARE) -> Curve:
    rows = np.flatnonzero(np.isfinite(curve.y))
    window = max(int(rows.size * share), 1)
    values = smoothed(curve.y[rows], window)
    return Curve(curve.name, curve.steps[rows], curve.time[rows], values, run=curve.run)


def _finite(run: RunData, column: str, is_smooth: bool = False) -> Curve:
    """Returns a column without the rows that have no value; its time is in seconds."""
    rows = np.flatnonzero(np.isfinite(run.column(column)) & np.isfinite(run.steps) & np.isfinite(run.seconds))
    curve = Curve("", run.steps[rows], run.seconds[rows], run.column(column)[rows])
    return _smooth(curve) if is_smooth else curve


def _env_rate(run: RunData) -> np.ndarray:
    """Returns the steps a second that the environments alone would make: of all collectors at the same time."""
    steps = np.diff(run.steps, prepend=0.0) if run.steps.size else run.steps
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = steps / run.column("env_s")
    rate[~np.isfinite(rate) | (rate <= 0)] = np.nan
    # Environments of offline runs only evaluate.
    return np.full_like(rate, np.nan) if run.is_offline else rate
