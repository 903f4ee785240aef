"""Charts as Vega-Lite specifications, without data, colours and sizes: the page and the picture add these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from launch.reports.series import thinned

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

# Stands for the title of the x axis, which is of steps or of time.
X_TITLE = "@x"

# The table of "main" and "faint" together, which the page puts together.
CURVES = "curves"

_MAX_POINTS = 500

# How far beyond the curves the interval of a mean is shown at most, as a share of what the curves span.
_BAND_SHARE = 0.5

# The columns of a table, all of one length.
Table = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Curve:
    """A line of a chart, float64 ``[N]`` each.

    Attributes:
        name: Its name in the legend and in tooltips; the curves of a run have the run's name.
        steps: Steps of the run.
        time: Time of training, in the unit of the page.
        y: Values; points with NaN are left out.
        half: Half the width of an interval around the values; None if there is none.
        run: The run; points of several runs are not joined.
    """

    name: str
    steps: np.ndarray
    time: np.ndarray
    y: np.ndarray
    half: np.ndarray | None = None
    run: str = ""


@dataclass(frozen=True)
class Mark:
    """Something that happened at a time of a run.

    Attributes:
        steps: Steps of the run by then.
        time: Time of training by then, in the unit of the page.
        text: What it was.
    """

    steps: float
    time: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: What it shows.
        spec: The specification in Vega-Lite. Its tables are named.
        tables: The tables by their names. Those with ``steps`` and ``time`` have one of both as ``x``.
        about: A sentence that explains it; may be empty.
        legend: Names and colours, as variables of CSS; empty for none.
        height: Height in pixels.
        is_wide: Whether it has the whole width of the page.
    """

    title: str
    spec: dict[str, Any]
    tables: Mapping[str, Table]
    about: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    height: int = 180
    is_wide: bool = False


@dataclass(frozen=True)
class Lines:
    """What a chart of lines shows.

    Attributes:
        main: The lines.
        faint: Lines of the same names that are drawn thin behind them, such as values before they are smoothed.
        points: Single values with intervals.
        marks: Faults and restarts.
        target: A value to reach; None if there is none.
        names: All names, in the order of their colours.
    """

    main: Sequence[Curve]
    faint: Sequence[Curve] = ()
    points: Sequence[Curve] = ()
    marks: Sequence[Mark] = ()
    target: float | None = None
    names: Sequence[str] = field(default=())


def line_chart(
    title: str,
    lines: Lines,
    y_title: str,
    about: str = "",
    from_zero: bool = False,
    is_wide: bool = False,
    is_log: bool = False,
    legend: tuple[tuple[str, str], ...] = (),
) -> Chart | None:
    """Returns a chart of lines over steps or time; None if there is nothing to draw.

    Args:
        title: What it shows.
        lines: The lines.
        y_title: Title of the y axis, with its unit.
        about: A sentence that explains it.
        from_zero: Whether the y axis begins at 0.
        is_wide: Whether it has the whole width of the page.
        is_log: Whether the y axis is logarithmic.
        legend: Names and colours.
    """
    # A line of one point would not be seen.
    single = [curve for curve in lines.main if np.isfinite(curve.y).sum() == 1]
    tables: dict[str, dict[str, list[Any]]] = {
        "main": _table(lines.main),
        "faint": _table(lines.faint),
        "points": _table([*lines.points, *single]),
        "marks": {
            "steps": [short(mark.steps) for mark in lines.marks],
            "time": [short(mark.time) for mark in lines.marks],
            "what": [mark.text for mark in lines.marks],
        },
        "target": {"target": [] if lines.target is None else [lines.target]},
    }
    if not (tables["main"]["y"] or tables["points"]["y"]):
        return None
    _cut(tables, from_zero)
    names = list(lines.names or dict.fromkeys(curve.name for curve in (*lines.main, *lines.points)))
    colour = coloured(names)
    scale = {"type": "log"} if is_log else _y_scale(tables, from_zero)
    y = {"field": "y", "type": "quantitative", "title": y_title, "scale": scale}
    tooltip = [
        *([{"field": "name", "title": "curve"}] if len(names) > 1 else []),
        *([{"field": "run", "title": "run"}] if any(curve.run for curve in (*lines.main, *lines.points)) else []),
        {"field": "y", "title": title, "type": "quantitative", "format": ",.5~g"},
        {"field": "x", "title": X_TITLE, "type": "quantitative", "format": ",.6~g"},
    ]
    base = {"x": _x(), "y": y, "color": colour, "detail": {"field": "run"}}
    tables |= {"band": _with_interval(tables["main"]), "bars": _with_interval(tables["points"])}
    layers = [
        _layer("band", {"type": "area", "opacity": 0.18}, _band(base)),
        _layer("faint", {"type": "line", "strokeWidth": 1, "opacity": 0.35}, base),
        _layer("target", {"type": "rule", "strokeDash": [6, 4], "style": "target", "strokeWidth": 1.5}, _target(y)),
        _layer("marks", {"type": "rule", "style": "fault", "strokeDash": [3, 3], "opacity": 0.8}, _marks()),
        _layer("main", {"type": "line", "strokeWidth": 2}, base),
        _layer("bars", {"type": "rule", "strokeWidth": 1.5}, _band(base)),
        _layer("points", {"type": "point", "filled": True, "size": 55, "opacity": 1}, {**base, "tooltip": tooltip}),
        # The runs of a group can be pointed at, too.
        _hovered(CURVES if any(curve.run for curve in lines.faint) else "main", base, tooltip),
    ]
    has = {name for name, table in tables.items() if any(table.values())}
    layers = [layer for layer in layers if layer["data"]["name"] in has | {CURVES}]
    layers[0] = {**layers[0], "params": [zoom(), *layers[0].get("params", [])]}
    spec = {"layer": layers}
    shown = {layer["data"]["name"] for layer in layers}
    used = {name: table for name, table in tables.items() if name in has & shown}
    return Chart(title, spec, used, about, legend, 300 if is_wide else 180, is_wide)


def coloured(names: Sequence[str]) -> dict[str, Any]:
    """Returns the colour by ``name``; the names are in the order of their colours."""
    return {"field": "name", "type": "nominal", "scale": {"domain": list(names)}, "legend": None}


def _cut(tables: Mapping[str, dict[str, list[Any]]], from_zero: bool) -> None:
    """Cuts the intervals of means in place.

    The interval of few runs can be many times as wide as all curves, which it would make flat; and it can be below 0
    where values cannot be negative.
    """
    main = tables["main"]
    for axis in ("steps", "time"):
        values = [float(value) for value in tables["target"]["target"]]
        for name in ("main", "faint", "points"):
            found = zip(tables[name]["y"], tables[name][axis], strict=True)
            values += [float(y) for y, place in found if None not in (y, place)]
        if not values:
            continue
        lowest, highest = min(values), max(values)
        beyond = (highest - lowest) * _BAND_SHARE
        for row, place in enumerate(main[axis]):
            if place is not None and main["low"][row] is not None:
                main["low"][row] = max(main["low"][row], 0.0 if from_zero else lowest - beyond)
                main["high"][row] = min(main["high"][row], highest + beyond)


def _y_scale(tables: Mapping[str, Mapping[str, Sequence[Any]]], from_zero: bool) -> dict[str, Any]:
    if from_zero:
        return {"zero": True}
    curves = [tables[name][column] for name in ("main", "faint", "points") for column in ("y", "low", "high")]
    values = {float(value) for column in (*curves, tables["target"]["target"]) for value in column if value is not None}
    if len(values) == 1:
        # Labels of an axis without length have no digits behind the point.
        (value,) = values
        around = abs(value) / 2 or 1.0
        return {"domain": [value - around, value + around], "nice": False}
    # Points at the edge are whole.
    return {"zero": False, "nice": False, "padding": 8}


def _x() -> dict[str, Any]:
    return {
        "field": "x",
        "type": "quantitative",
        "title": X_TITLE,
        "axis": {"format": "~s", "grid": True},
        "scale": {"nice": False, "zero": False, "padding": 8},
    }


def _band(base: Mapping[str, Any]) -> dict[str, Any]:
    return {**base, "y": {**base["y"], "field": "low"}, "y2": {"field": "high"}}


def _target(y: Mapping[str, Any]) -> dict[str, Any]:
    shown = [{"field": "target", "title": "target", "type": "quantitative"}]
    return {"y": {**y, "field": "target"}, "tooltip": shown}


def _marks() -> dict[str, Any]:
    return {
        "x": _x(),
        "tooltip": [{"field": "what", "title": "what"}, {"field": "x", "title": X_TITLE, "format": ",.6~g"}],
    }


def _hovered(table: str, base: Mapping[str, Any], tooltip: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the layer of the point that is next to the pointer, with its tooltip."""
    nearest = {
        "name": "hover",
        "select": {"type": "point", "on": "pointermove", "nearest": True, "clear": "pointerout"},
    }
    shown = {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0}
    layer = _layer(table, {"type": "point", "filled": True, "size": 70}, {**base, "opacity": shown, "tooltip": tooltip})
    return {**layer, "params": [nearest]}


def _layer(table: str, mark: Mapping[str, Any], encoding: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": {"name": table}, "mark": {"clip": True, **mark}, "encoding": dict(encoding)}


def zoom() -> dict[str, Any]:
    """Returns the parameter by which dragging moves the x axis, and the wheel with Ctrl or Shift zooms it."""
    held = "wheel![event.ctrlKey || event.shiftKey]"
    return {"name": "zoom", "select": {"type": "interval", "encodings": ["x"], "zoom": held}, "bind": "scales"}


def _table(curves: Sequence[Curve]) -> dict[str, list[Any]]:
    """Returns the points of curves that are finite, thinned, as one table."""
    found: dict[str, list[Any]] = {name: [] for name in ("name", "run", "steps", "time", "y", "low", "high")}
    for curve in curves:
        half = np.full(curve.y.size, np.nan) if curve.half is None else curve.half
        rows = np.flatnonzero(np.isfinite(curve.y) & (np.isfinite(curve.steps) | np.isfinite(curve.time)))
        rows = rows[thinned(curve.y[rows], _MAX_POINTS)] if rows.size else rows
        found["name"] += [curve.name] * rows.size
        found["run"] += [curve.run] * rows.size
        for name, values in (
            ("steps", curve.steps),
            ("time", curve.time),
            ("y", curve.y),
            ("low", curve.y - half),
            ("high", curve.y + half),
        ):
            found[name] += [short(value) for value in values[rows]]
    return found


def _with_interval(table: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Returns the rows of a table that have an interval."""
    rows = [index for index, low in enumerate(table["low"]) if low is not None]
    return {name: [values[index] for index in rows] for name, values in table.items()}


def short(value: float) -> float | None:
    """Returns a number with the digits that a chart can show; None for NaN and infinity, which JSON lacks."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
