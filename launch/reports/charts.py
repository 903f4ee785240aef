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

_MAX_POINTS = 500

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
    tables: dict[str, dict[str, list[Any]]] = {
        "main": _table(lines.main),
        "faint": _table(lines.faint),
        "points": _table(lines.points),
        "marks": {
            "steps": [_short(mark.steps) for mark in lines.marks],
            "time": [_short(mark.time) for mark in lines.marks],
            "what": [mark.text for mark in lines.marks],
        },
        "target": {"target": [] if lines.target is None else [lines.target]},
    }
    if not (tables["main"]["y"] or tables["points"]["y"]):
        return None
    names = list(lines.names or dict.fromkeys(curve.name for curve in (*lines.main, *lines.points)))
    colour = {"field": "name", "type": "nominal", "scale": {"domain": names}, "legend": None}
    # Points at the edge are whole.
    near = {"zero": False, "nice": False, "padding": 8, **_around_constant(tables)}
    scale: dict[str, Any] = {"zero": True} if from_zero else near
    if is_log:
        scale = {"type": "log"}
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
        _hovered(base, tooltip),
    ]
    has = {name for name, table in tables.items() if any(table.values())}
    layers = [layer for layer in layers if layer["data"]["name"] in has]
    layers[0] = {**layers[0], "params": [_zoom(), *layers[0].get("params", [])]}
    spec = {"layer": layers}
    used = {name: table for name, table in tables.items() if name in has}
    return Chart(title, spec, used, about, legend, 300 if is_wide else 180, is_wide)


def _x() -> dict[str, Any]:
    return {
        "field": "x",
        "type": "quantitative",
        "title": X_TITLE,
        "axis": {"format": "~s", "grid": True},
        "scale": {"nice": False, "zero": False, "padding": 8},
    }


def _around_constant(tables: Mapping[str, Mapping[str, Sequence[Any]]]) -> dict[str, Any]:
    """Returns the domain around a value that never changes, whose axis would have one label, a rounded one."""
    values = set(tables["target"]["target"])
    for name in ("main", "faint", "points"):
        values.update(tables[name]["y"])
    if len(values) != 1:
        return {}
    (value,) = values
    half = abs(value) / 2 or 1.0
    return {"domain": [value - half, value + half]}


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


def _hovered(base: Mapping[str, Any], tooltip: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the layer of the point that is next to the pointer, with its tooltip."""
    nearest = {
        "name": "hover",
        "select": {"type": "point", "on": "pointermove", "nearest": True, "clear": "pointerout"},
    }
    shown = {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0}
    layer = _layer(
        "main", {"type": "point", "filled": True, "size": 70}, {**base, "opacity": shown, "tooltip": tooltip}
    )
    return {**layer, "params": [nearest]}


def _layer(table: str, mark: Mapping[str, Any], encoding: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": {"name": table}, "mark": {"clip": True, **mark}, "encoding": dict(encoding)}


def _zoom() -> dict[str, Any]:
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
            found[name] += [_short(value) for value in values[rows]]
    return found


def _with_interval(table: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Returns the rows of a table that have an interval."""
    rows = [index for index, low in enumerate(table["low"]) if low is not None]
    return {name: [values[index] for index in rows] for name, values in table.items()}


def _short(value: float) -> float | None:
    """Returns a number with the digits that a chart can show; None for NaN and infinity, which JSON lacks."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def bar_chart(title: str, labels: Sequence[str], values: Sequence[float], x_title: str, y_title: str) -> Chart:
    """Returns a chart of vertical bars, with the share of each in its tooltip.

    Args:
        title: What it shows.
        labels: One for each bar.
        values: Their heights.
        x_title: Title of the x axis.
        y_title: Title of the y axis.
    """
    total = sum(values) or 1.0
    share = [_short(value / total) for value in values]
    spec = {
        "data": {"name": "bars"},
        "mark": {"type": "bar", "cornerRadiusEnd": 3},
        "encoding": {
            "x": {"field": "label", "type": "ordinal", "sort": None, "title": x_title, "axis": {"labelAngle": 0}},
            "y": {"field": "share", "type": "quantitative", "title": y_title, "axis": {"format": ".0%"}},
            "tooltip": [
                {"field": "label", "title": x_title},
                {"field": "value", "title": "rows", "type": "quantitative", "format": ",.0f"},
                {"field": "share", "title": "share", "type": "quantitative", "format": ".1%"},
            ],
        },
    }
    return Chart(title, spec, {"bars": {"label": list(labels), "value": list(values), "share": share}})


def stacked_timeline(
    title: str, table: Table, kinds: Sequence[str], time_unit: str, legend: tuple[tuple[str, str], ...], about: str
) -> Chart:
    """Returns a chart of what workers did with their time: a stacked row for each worker.

    Args:
        title: What it shows.
        table: Columns ``worker``, ``kind``, ``begin``, ``end`` (in the unit of the page), ``share`` and ``seconds``.
        kinds: The kinds, in the order of their colours and from the bottom up.
        time_unit: The unit of ``begin`` and ``end``.
        legend: Names and colours.
        about: A sentence that explains it.
    """
    workers = list(dict.fromkeys(table["worker"]))
    order = [kinds.index(kind) for kind in table["kind"]]
    spec = {
        "data": {"name": "stretches"},
        "mark": {"type": "rect", "clip": True},
        "params": [_zoom()],
        "encoding": {
            "row": {
                "field": "worker",
                "type": "nominal",
                "sort": workers,
                "title": None,
                "spacing": 12,
                "header": {"labelAngle": 0, "labelAlign": "left", "labelOrient": "top", "labelAnchor": "start"},
            },
            "x": {
                "field": "begin",
                "type": "quantitative",
                "title": f"{time_unit} of training",
                "scale": {"nice": False, "zero": False},
            },
            "x2": {"field": "end"},
            "y": {
                "field": "low",
                "type": "quantitative",
                "title": None,
                "scale": {"domain": [0, 1]},
                "axis": {"format": ".0%", "values": [0, 0.5, 1]},
            },
            "y2": {"field": "high"},
            "color": {
                "field": "kind",
                "type": "ordinal",
                "scale": {"domain": list(kinds), "range": "ordinal"},
                "legend": None,
            },
            "tooltip": [
                {"field": "worker", "title": "worker"},
                {"field": "kind", "title": "what"},
                {"field": "share", "title": "share", "type": "quantitative", "format": ".1%"},
                {"field": "seconds", "title": "seconds", "type": "quantitative", "format": ",.3~g"},
            ],
        },
    }
    return Chart(title, spec, {"stretches": {**table, "order": order}}, about, legend, height=48, is_wide=True)
