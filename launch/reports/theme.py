"""Colours and fonts of the charts and of the page, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Theme(NamedTuple):
    """The colours of a theme, as CSS colours.

    Attributes:
        background: Behind the page.
        card: Behind charts and tables.
        text: Text.
        muted: Text of less weight, and axes.
        faint: Curves of the least weight.
        grid: Lines between things.
        alert: Faults.
        good: What has succeeded.
        runs: One for each run or curve.
        times: Environments, inference, learning, the rest, waiting.
    """

    background: str
    card: str
    text: str
    muted: str
    faint: str
    grid: str
    alert: str
    good: str
    runs: tuple[str, ...]
    times: tuple[str, ...]


LIGHT = Theme(
    background="#f5f6f8",
    card="#ffffff",
    text="#1a2230",
    muted="#5d6a7e",
    faint="#b4bdca",
    grid="#e4e8ee",
    alert="#d13438",
    good="#0f7b4f",
    runs=("#2463eb", "#e8710a", "#0f9d76", "#9334e6", "#d93065", "#0891b2", "#a16207", "#64748b"),
    times=("#0f9d76", "#2463eb", "#9334e6", "#e9a23b", "#ced6e0"),
)
DARK = Theme(
    background="#10141b",
    card="#181e28",
    text="#e6eaf1",
    muted="#98a4b8",
    faint="#56637a",
    grid="#2a3240",
    alert="#ff7b7b",
    good="#4ecb94",
    runs=("#6ea3ff", "#ff9d4d", "#3ecfa4", "#c58cff", "#ff7aa8", "#3fc4e2", "#d9b24a", "#9aa8bd"),
    times=("#3ecfa4", "#6ea3ff", "#c58cff", "#e8b45c", "#3b4658"),
)

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def chart_config(theme: Theme, font: str = FONT, colours: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns Vega-Lite's ``config`` of a theme.

    Args:
        theme: The theme.
        font: The font, as in CSS.
        colours: The colours of the names in charts; None for those of runs.
    """
    axis = {
        "domain": False,
        "ticks": False,
        "gridColor": theme.grid,
        "labelColor": theme.muted,
        "titleColor": theme.muted,
        "titleFontWeight": "normal",
        "labelPadding": 6,
        "titlePadding": 8,
        "labelFontSize": 11,
        "titleFontSize": 11,
    }
    text = {"labelColor": theme.muted, "titleColor": theme.muted, "titleFontWeight": "normal", "labelFontSize": 11}
    return {
        "background": "transparent",
        "font": font,
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"domain": True, "domainColor": theme.muted, "domainOpacity": 0.5, "tickCount": 6},
        "axisY": {"tickCount": 5},
        "legend": text,
        "header": {"labelColor": theme.text, "titleColor": theme.muted, "labelFontSize": 11},
        "title": {"color": theme.text, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "range": {"category": list(theme.runs if colours is None else colours), "ordinal": list(theme.times)},
        "text": {"color": theme.muted},
        "bar": {"color": theme.runs[0]},
        "style": {"fault": {"color": theme.alert}, "target": {"color": theme.text}},
    }


def css_variables(theme: Theme) -> str:
    """Returns the theme's colours as custom properties of CSS."""
    return ";".join(f"--{name}:{colour}" for name, colour in colours_by_name(theme).items())


def colours_by_name(theme: Theme) -> dict[str, str]:
    """Returns the theme's colours by the names of their custom properties, without the dashes."""
    names = ("background", "card", "text", "muted", "faint", "grid", "alert", "good")
    found = {name: str(getattr(theme, name)) for name in names}
    found |= {f"run{index}": colour for index, colour in enumerate(theme.runs)}
    return found | {f"time{index}": colour for index, colour in enumerate(theme.times)}
