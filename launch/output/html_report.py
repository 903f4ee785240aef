"""report.html: a run on one page, in a single file."""

from __future__ import annotations

import html
from collections.abc import Sequence

from distpolicy.utils.atomic_files import write_file
from launch.config.codec import dump
from launch.config.train import TrainConfig
from launch.output.metrics import RUN_COLUMNS, read_rows
from launch.output.run_directory import RunDirectory
from workers.learning.learner import LAG_ROWS

_CHARTS = {
    "return_mean_100": "Mean return of the last 100 episodes",
    "eval_return_mean": "Mean return of the greedy policy in evaluations",
    "eval_stochastic_return_mean": "Mean return of the stochastic policy in evaluations",
    "steps_per_s": "Steps a second",
    "loss": "Loss",
    "policy_lag_mean": "Mean policy lag, in versions",
    "learner_wait_s": "Seconds that the learner waits before an update",
    "collector_wait_s": "Seconds that a collector waits before a rollout",
    "rows_dropped": "Rows that were dropped because they were too old",
}
# The columns whose last values are told at the top.
_FACTS = ("env_steps", "gradient_steps", "episodes", "return_mean_100")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 220, 70, 30


def write(directory: RunDirectory, config: TrainConfig, evaluations: Sequence[str] = ()) -> None:
    """Writes the report from ``metrics.csv``.

    Args:
        directory: The run directory.
        config: The run's settings.
        evaluations: A line on each policy that was evaluated.
    """
    rows = read_rows(directory.metrics_file)
    title = html.escape(f"{config.env}, seed {config.seed}")
    charts = "\n".join(_chart(rows, column, name, config.step_unit) for column, name in _charts(config, rows).items())
    charts += _lag_table(rows)
    last = rows[-1] if rows else {}
    facts = ", ".join(f"{name} {last[name]}" for name in _FACTS if last.get(name))
    lines = "".join(f"<p>{html.escape(line)}</p>\n" for line in evaluations)
    write_file(
        directory.report_file,
        f"<!doctype html>\n<meta charset=utf-8>\n<title>{title}</title>\n"
        "<style>body{font:15px sans-serif;max-width:680px;margin:2em auto;padding:0 1em}"
        "svg{width:100%}pre{background:#f4f4f4;padding:1em;overflow:auto}</style>\n"
        f"<h1>{title}</h1>\n<p>{html.escape(facts)}</p>\n{lines}{charts}\n"
        f"<h2>Configuration</h2>\n<pre>{html.escape(dump(config))}</pre>\n",
    )


def _charts(config: TrainConfig, rows: list[dict[str, str]]) -> dict[str, str]:
    """Returns the columns to draw, with their titles: first the columns of every run, then the algorithm's."""
    metrics = config.agent.metrics
    if not metrics and rows:
        metrics = {name: name for name in rows[0] if name and name not in RUN_COLUMNS}
    numbers = rows[-1] if rows else {}
    infos = {name: name.partition("/")[2] for name in numbers if name and name.startswith("info/")}
    return {**_CHARTS, "steps_per_s": f"{config.step_unit.capitalize()} a second", **infos, **metrics}


def _lag_table(rows: list[dict[str, str]]) -> str:
    """Returns how many rows were learned from with each policy lag; empty for a run in lock step."""
    names = [name for name in (rows[-1] if rows else {}) if name and name.startswith(LAG_ROWS)]
    counts = {name: sum(float(row[name] or 0) for row in rows) for name in names}
    total = sum(counts.values())
    if not total:
        return ""
    lines = "".join(
        f"<tr><td>{html.escape(name.removeprefix(LAG_ROWS))}<td align=right>{count:,.0f}<td align=right>"
        f"{count / total:.1%}<td><div style='background:#06c;height:1em;width:{300 * count / total:.0f}px'></div>"
        for name, count in counts.items()
    )
    return f"\n<h2>Policy lag of the rows</h2>\n<table><tr><th>lag<th>rows<th>share<th>{lines}</table>"


def _chart(rows: list[dict[str, str]], column: str, name: str, unit: str) -> str:
    """Returns a chart of a column over the steps of the run, which are counted in this unit."""
    steps = unit.replace(" ", "_")
    points = [(float(row[steps]), float(row[column])) for row in rows if row.get(column)]
    if len(points) < 2:
        return ""
    xs, ys = zip(*points, strict=True)
    low, high = min(ys), max(ys)
    spread = (high - low) or 1.0
    path = " ".join(
        f"{_LEFT + x / max(xs) * (_WIDTH - _LEFT - 20):.1f},{10 + (high - y) / spread * (_HEIGHT - _BOTTOM - 10):.1f}"
        for x, y in points
    )
    base = _HEIGHT - _BOTTOM
    return (
        f"<h2>{html.escape(name)}</h2>\n<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' font-size=11>"
        f"<path d='M{_LEFT},10V{base}H{_WIDTH - 20}' fill=none stroke=#999 />"
        f"<polyline points='{path}' fill=none stroke=#06c stroke-width=1.5 />"
        f"<text x={_LEFT - 6} y=16 text-anchor=end>{high:.4g}</text>"
        f"<text x={_LEFT - 6} y={base} text-anchor=end>{low:.4g}</text>"
        f"<text x={_LEFT} y={_HEIGHT - 12}>0</text>"
        f"<text x={_WIDTH - 20} y={_HEIGHT - 12} text-anchor=end>{max(xs):,.0f} {unit}</text></svg>"
    )
