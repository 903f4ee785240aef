"""write_page: a report as one HTML file, which needs no network."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from distpolicy.utils.atomic_files import write_file
from launch.config.common import counted
from launch.reports import tables
from launch.reports.bundle import NOTICE, vega_bundle
from launch.reports.charts import SCHEMA, Chart
from launch.reports.figures import Figures
from launch.reports.groups import Group
from launch.reports.run_data import RunData
from launch.reports.text import count, moment
from launch.reports.theme import DARK, FONT, LIGHT, chart_config, css_variables

# Scripts and styles of the page itself alone, and no network. Vega compiles the expressions of charts.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:"

_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


def write_page(path: Path, groups: Sequence[Group], title: str | None = None) -> None:
    """Writes a page on a run, or on several in groups.

    Args:
        path: The HTML file.
        groups: The groups of runs.
        title: The title; None for the environment's id.

    Raises:
        DistPolicyError: If the file cannot be written.
    """
    write_file(path, page_text(groups, title))


def page_text(groups: Sequence[Group], title: str | None = None) -> str:
    """Returns a page as HTML; see :func:`write_page`."""
    figures = Figures(groups)
    runs = figures.runs
    is_single = len(runs) == 1
    builder = _Body()
    body = builder.of_run(figures, runs[0]) if is_single else builder.of_runs(figures)
    envs = ", ".join(dict.fromkeys(run.env for run in runs))
    name = title or envs
    lead = _lead_of_run(runs[0]) if is_single else f"{len(runs)} runs in {len(groups)} group{'s' * (len(groups) > 1)}"
    badge = f"<span class='badge {runs[0].state}'>{runs[0].state}</span>" if is_single else ""
    data = {
        "charts": [dataclasses.asdict(chart) for chart in builder.charts],
        "axes": {"steps": runs[0].step_unit, "time": f"{figures.unit.name} of training"},
        "themes": {"light": chart_config(LIGHT), "dark": chart_config(DARK)},
        "schema": SCHEMA,
    }
    head = (
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        "<meta name=viewport content='width=device-width, initial-scale=1'>\n"
        f"<title>{html.escape(name)} · distpolicy</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>\n"
        f"<header><div><h1>{html.escape(name)}{badge}</h1><p class=lead>{html.escape(lead)}</p></div>{_CONTROLS}"
        "</header>\n"
    )
    return "".join(
        [
            head,
            body,
            f"<footer>Written by distpolicy. Drag a chart to move it, Ctrl or Shift and the wheel to zoom, "
            f"double-click to go back. Charts by {html.escape(NOTICE)}.</footer>\n</main>\n",
            f"<script type='application/json' id=data>{_json(data)}</script>\n",
            f"<script>/* {NOTICE} */\n{vega_bundle()}</script>\n",
            f"<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n",
        ]
    )


_CONTROLS = (
    "<div class=controls><div class=switch role=group aria-label='x axis'>"
    "<button type=button data-axis=steps>Steps</button><button type=button data-axis=time>Time</button></div>"
    "<div class=switch role=group aria-label=theme><button type=button data-set-theme=light>Light</button>"
    "<button type=button data-set-theme=dark>Dark</button></div></div>"
)


class _Body:
    """Puts a page's charts and tables together.

    Attributes:
        charts: The charts, in their order on the page.
    """

    def __init__(self) -> None:
        self.charts: list[Chart] = []

    def of_run(self, figures: Figures, run: RunData) -> str:
        """Returns the body of the page of one run."""
        evaluated = tables.evaluations(run)
        # Beside the first of the small charts.
        extra = f"<div class='card rest'><h3>Evaluations</h3>{evaluated}</div>" if evaluated else ""
        parts = [tables.tiles_of_run(run), *self._sections(figures, extra)]
        parts += self._faults([run])
        boxes = f"<div class=card>{tables.configuration(run)}</div>"
        if found := tables.origin(run):
            boxes += f"<div class=card><div class=scroll>{found}</div></div>"
        parts.append(_titled("Configuration", f"<div class=pair>{boxes}</div>"))
        return "\n".join(parts)

    def of_runs(self, figures: Figures) -> str:
        """Returns the body of the page of several runs."""
        groups = figures.groups
        summary = f"<div class=card style='margin-top:22px'>{tables.groups_table(groups)}</div>"
        parts = [summary, *self._sections(figures)]
        parts.append(_titled("Runs", f"<div class=card>{tables.runs_table(groups)}</div>"))
        parts += self._faults(figures.runs)
        settings = [
            f"<div class=card><h3>{html.escape(group.name)}</h3>"
            f"{tables.configuration(group.runs[0], has_seed=len(group.runs) == 1)}</div>"
            for group in groups
        ]
        parts.append(_titled("Configuration", f"<div class=pair>{''.join(settings)}</div>"))
        if found := tables.origins(figures.runs):
            parts.append(_titled("Commands and machines", f"<div class=card><div class=scroll>{found}</div></div>"))
        return "\n".join(parts)

    def _faults(self, runs: Sequence[RunData]) -> list[str]:
        found = tables.faults(runs)
        return [_titled("Faults and restarts", f"<div class=card>{found}</div>")] if found else []

    def _sections(self, figures: Figures, extra: str = "") -> list[str]:
        """Returns the sections; ``extra`` comes after two cards of the first one."""
        sections = figures.sections()
        if not sections:
            return ["<p class=note style='margin-top:24px'>There is nothing to draw yet: no update is done.</p>"]
        found = []
        for section in sections:
            cards = [self._card(chart) for chart in section.charts]
            if section is sections[0]:
                cards.insert(2, extra)
            found.append(_titled(section.title, f"<div class=charts>{''.join(cards)}</div>"))
        return found

    def _card(self, chart: Chart) -> str:
        self.charts.append(chart)
        about = f"<p class=about>{html.escape(chart.about)}</p>" if chart.about else ""
        items = "".join(
            f"<li><i style='background:var({colour})'></i>{html.escape(name)}</li>" for name, colour in chart.legend
        )
        legend = f"<ul class=legend>{items}</ul>" if items else ""
        return (
            f"<div class='card{' wide' if chart.is_wide else ''}'><h3>{html.escape(chart.title)}</h3>{about}{legend}"
            f"<div class=chart data-chart={len(self.charts) - 1}></div></div>"
        )


def _titled(title: str, content: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>"


def _lead_of_run(run: RunData) -> str:
    starts = run.record.get("starts") or [{}]
    parts = [run.agent, f"seed {run.seed}", run.path.resolve().name]
    if run.config.get("collectors") and not run.is_offline:
        envs = int(run.config["collectors"]) * int(run.config.get("envs_per_collector", 1))
        parts.append(f"{counted(int(run.config['collectors']), 'collector')}, {count(envs)} environments")
    if "time" in starts[0]:
        parts.append(moment(starts[0]["time"]))
    return " · ".join(parts)


def _style() -> str:
    fonts = f"--font:{FONT};--mono:{_MONO}"
    dark = css_variables(DARK)
    return (
        f":root{{{fonts};{css_variables(LIGHT)}}}\n"
        f"@media(prefers-color-scheme:dark){{:root:not([data-theme]){{{dark}}}}}\n"
        f":root[data-theme=light]{{color-scheme:light}}\n:root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
        f"{_asset('page.css')}"
    )


def _asset(name: str) -> str:
    return (resources.files("launch.reports") / "page" / name).read_text(encoding="utf-8")


def _json(values: Any) -> str:
    """Returns JSON that cannot end the element which holds it."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
