"""Charts of bars as Vega-Lite specifications: shares by groups, and what workers did with their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launch.reports.charts import Chart, Table, coloured, short, zoom

_TIME_TOOLTIP = (
    {"field": "kind", "title": "what"},
    {"field": "share", "title": "share", "type": "quantitative", "format": ".1%"},
    {"field": "seconds", "title": "seconds", "type": "quantitative", "format": ",.3~g"},
)


@dataclass(frozen=True)
class Bars:
    """The bars of a group.

    Attributes:
        name: The name of the group.
        values: The values by their labels.
    """

    name: str
    values: Mapping[str, float]


def bar_chart(
    title: str,
    groups: Sequence[Bars],
    labels: Sequence[str],
    names: Sequence[str],
    x_title: str,
    y_title: str,
    unit: str,
) -> Chart:
    """Returns a chart of vertical bars: the share of each label in its group.

    Args:
        title: What it shows.
        groups: The groups, whose bars stand beside each other.
        labels: All labels, from the left to the right.
        names: The names of all groups of the page, in the order of their colours.
        x_title: Title of the x axis.
        y_title: Title of the y axis.
        unit: What the values count.
    """
    table: dict[str, list[Any]] = {name: [] for name in ("name", "label", "value", "share")}
    for group in groups:
        total = sum(group.values.values()) or 1.0
        for label, value in group.values.items():
            for column, item in zip(table, (group.name, label, value, short(value / total)), strict=True):
                table[column].append(item)
    beside = {"xOffset": {"field": "name"}} if len(groups) > 1 else {}
    spec = {
        "data": {"name": "bars"},
        "mark": {"type": "bar", "cornerRadiusEnd": 3},
        "encoding": {
            "x": {
                "field": "label",
                "type": "ordinal",
                "sort": list(labels),
                "title": x_title,
                "axis": {"labelAngle": 0},
            },
            **beside,
            "y": {"field": "share", "type": "quantitative", "title": y_title, "axis": {"format": ".0%"}},
            "color": coloured(names),
            "tooltip": [
                *([{"field": "name", "title": "group"}] if beside else []),
                {"field": "label", "title": x_title},
                {"field": "value", "title": unit, "type": "quantitative", "format": ",.0f"},
                {"field": "share", "title": "share", "type": "quantitative", "format": ".1%"},
            ],
        },
    }
    return Chart(title, spec, {"bars": table})


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
        "params": [zoom()],
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
            "color": _of_kind(kinds),
            "tooltip": [{"field": "worker", "title": "worker"}, *_TIME_TOOLTIP],
        },
    }
    return Chart(title, spec, {"stretches": {**table, "order": order}}, about, legend, height=48, is_wide=True)


def stacked_bars(
    title: str, table: Table, kinds: Sequence[str], legend: tuple[tuple[str, str], ...], about: str
) -> Chart:
    """Returns a chart of horizontal bars that are stacked by kinds.

    Args:
        title: What it shows.
        table: Columns ``label``, ``kind``, ``low``, ``high``, ``share`` and ``seconds``.
        kinds: The kinds, in the order of their colours.
        legend: Names and colours.
        about: A sentence that explains it.
    """
    spec = {
        "data": {"name": "parts"},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {
                "field": "label",
                "type": "nominal",
                "sort": None,
                "title": None,
                "scale": {"paddingInner": 0.5, "paddingOuter": 0.5},
                # Above the bars, where names of groups have the whole width; beside them they would be cut.
                "axis": {
                    "grid": False,
                    "labelAlign": "left",
                    "labelBaseline": "bottom",
                    "labelPadding": 0,
                    "labelOffset": -15,
                    "labelLimit": {"expr": "width"},
                },
            },
            "x": {
                "field": "low",
                "type": "quantitative",
                "title": "share of the time",
                "scale": {"domain": [0, 1]},
                "axis": {"format": ".0%", "grid": False},
            },
            "x2": {"field": "high"},
            "color": _of_kind(kinds),
            "tooltip": [{"field": "label", "title": "workers"}, *_TIME_TOOLTIP],
        },
    }
    num_bars = len(dict.fromkeys(table["label"]))
    return Chart(title, spec, {"parts": table}, about, legend, height=60 + 40 * num_bars, is_wide=True)


def _of_kind(kinds: Sequence[str]) -> dict[str, Any]:
    return {"field": "kind", "type": "ordinal", "scale": {"domain": list(kinds), "range": "ordinal"}, "legend": None}
