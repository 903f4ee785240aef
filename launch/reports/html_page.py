"""HtmlPage: charts and tables as one HTML file, which needs no network and has a light and a dark theme."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from launch.reports.bundle import NOTICE, vega_bundle
from launch.reports.charts import SCHEMA, Chart
from launch.reports.theme import DARK, FONT, LIGHT, css_variables

# Scripts and styles of the page itself alone, and no network. Vega compiles the expressions of charts.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:"

_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


class HtmlPage:
    """Puts a page together: first the cards of its charts, then the whole text.

    Args:
        axes: The titles of the x axes that charts can have, by ``steps`` and ``time``.
        themes: Vega-Lite's ``config`` by the names of the themes, ``light`` and ``dark``.
    """

    def __init__(self, axes: Mapping[str, str], themes: Mapping[str, Any]) -> None:
        self._axes, self._themes = axes, themes
        self._charts: list[Chart] = []

    def card(self, chart: Chart) -> str:
        """Returns a chart with its title, its explanation and its legend; the page's script draws it there."""
        self._charts.append(chart)
        about = f"<p class=about>{html.escape(chart.about)}</p>" if chart.about else ""
        items = "".join(
            f"<li><i style='background:var({colour})'></i>{html.escape(name)}</li>" for name, colour in chart.legend
        )
        legend = f"<ul class=legend>{items}</ul>" if items else ""
        return (
            f"<div class='card{' wide' if chart.is_wide else ''}'><h3>{html.escape(chart.title)}</h3>{about}{legend}"
            f"<div class=chart data-chart={len(self._charts) - 1}></div></div>"
        )

    def text(self, name: str, lead: str, body: str, badge: str = "") -> str:
        """Returns the page.

        Args:
            name: The heading.
            lead: The line below it.
            body: HTML, with the cards of all charts.
            badge: HTML that stands behind the heading.
        """
        data = {
            "charts": [dataclasses.asdict(chart) for chart in self._charts],
            "axes": dict(self._axes),
            "themes": dict(self._themes),
            "schema": SCHEMA,
        }
        head = (
            "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            "<meta name=viewport content='width=device-width, initial-scale=1'>\n"
            f"<title>{html.escape(name)} · distpolicy</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>\n"
            f"<header><div><h1>{html.escape(name)}{badge}</h1><p class=lead>{html.escape(lead)}</p></div>"
            f"<div class=controls>{_AXES if len(self._axes) > 1 else ''}{_THEMES}</div></header>\n"
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


def titled(title: str, content: str) -> str:
    """Returns a section with a heading."""
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>"


_AXES = (
    "<div class=switch role=group aria-label='x axis'>"
    "<button type=button data-axis=steps>Steps</button><button type=button data-axis=time>Time</button></div>"
)
_THEMES = (
    "<div class=switch role=group aria-label=theme><button type=button data-set-theme=light>Light</button>"
    "<button type=button data-set-theme=dark>Dark</button></div>"
)


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
