"""write_page: a report as one HTML file, which needs no network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from distpolicy.errors import ConfigError
from distpolicy.utils.atomic_files import write_file
from launch.config.common import counted
from launch.reports import tables
from launch.reports.figures import Figures
from launch.reports.groups import Group
from launch.reports.html_page import HtmlPage, titled
from launch.reports.run_data import RunData
from launch.reports.text import count, moment
from launch.reports.theme import DARK, LIGHT, chart_config


def check_page_file(out: Path) -> None:
    """Checks that a page can be written to the file that ``--out`` names.

    Raises:
        ConfigError: If it is not an HTML file.
    """
    if out.is_dir() or out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out must be an HTML file, such as report.html, but is {out}")


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
    page = HtmlPage(
        {"steps": figures.step_unit, "time": f"{figures.unit.name} of training"},
        {"light": chart_config(LIGHT), "dark": chart_config(DARK)},
    )
    builder = _Body(page)
    body = builder.of_run(figures, runs[0]) if is_single else builder.of_runs(figures)
    envs = ", ".join(dict.fromkeys(run.env for run in runs))
    lead = _lead_of_run(runs[0]) if is_single else f"{len(runs)} runs in {counted(len(groups), 'group')}"
    state = html.escape(runs[0].state)
    badge = f"<span class='badge {state}'>{state}</span>" if is_single else ""
    return page.text(title or envs, lead, body, badge)


class _Body:
    """Puts a page's charts and tables together.

    Args:
        page: The page.
    """

    def __init__(self, page: HtmlPage) -> None:
        self._page = page

    def of_run(self, figures: Figures, run: RunData) -> str:
        """Returns the body of the page of one run."""
        evaluated = tables.evaluations(run)
        # Beside the first of the small charts.
        extra = f"<div class='card rest'><h3>Evaluations</h3>{evaluated}</div>" if evaluated else ""
        parts = [tables.tiles_of_run(run), *self._sections(figures, extra)]
        parts += self._faults([run])
        boxes = f"<div class=card>{tables.configuration([run])}</div>"
        if found := tables.origin(run):
            boxes += f"<div class=card><div class=scroll>{found}</div></div>"
        parts.append(titled("Configuration", f"<div class=pair>{boxes}</div>"))
        return "\n".join(parts)

    def of_runs(self, figures: Figures) -> str:
        """Returns the body of the page of several runs."""
        groups = figures.groups
        summary = f"<div class=card style='margin-top:22px'>{tables.groups_table(groups)}</div>"
        parts = [summary, *self._sections(figures)]
        parts.append(titled("Runs", f"<div class=card>{tables.runs_table(groups)}</div>"))
        parts += self._faults(figures.runs)
        settings = [
            f"<div class=card><h3>{html.escape(group.name)}</h3>{tables.configuration(group.runs)}</div>"
            for group in groups
        ]
        parts.append(titled("Configuration", f"<div class=pair>{''.join(settings)}</div>"))
        if found := tables.origins(figures.runs):
            parts.append(titled("Commands and machines", f"<div class=card><div class=scroll>{found}</div></div>"))
        return "\n".join(parts)

    def _faults(self, runs: Sequence[RunData]) -> list[str]:
        found = tables.faults(runs)
        return [titled("Faults and restarts", f"<div class=card>{found}</div>")] if found else []

    def _sections(self, figures: Figures, extra: str = "") -> list[str]:
        """Returns the sections; ``extra`` comes after two cards of the first one."""
        sections = figures.sections()
        if not sections:
            return ["<p class=note style='margin-top:24px'>There is nothing to draw yet: no update is done.</p>"]
        found = []
        for section in sections:
            cards = [self._page.card(chart) for chart in section.charts]
            if section is sections[0]:
                cards.insert(2, extra)
            found.append(titled(section.title, f"<div class=charts>{''.join(cards)}</div>"))
        return found


def _lead_of_run(run: RunData) -> str:
    starts = run.record.get("starts") or [{}]
    parts = [run.agent, f"seed {run.seed}", run.path.resolve().name]
    if run.config.get("collectors") and not run.is_offline:
        envs = int(run.config["collectors"]) * int(run.config.get("envs_per_collector", 1))
        parts.append(f"{counted(int(run.config['collectors']), 'collector')}, {count(envs)} environments")
    if "time" in starts[0]:
        parts.append(moment(starts[0]["time"]))
    return " · ".join(parts)
