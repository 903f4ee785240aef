"""write_picture: a report's most important charts as one PNG file, made without a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distpolicy.utils.atomic_files import write_file
from launch.reports.charts import SCHEMA, X_TITLE, Chart
from launch.reports.figures import Figures
from launch.reports.groups import Group
from launch.reports.theme import LIGHT, chart_config

_WIDTH, _GAP, _SCALE = 940, 28, 1.5

# Charts beside the learning curve: the first ones that there are.
_WANTED = (
    "Episode length",
    "Loss",
    "Entropy",
    "Entropy of the policy",
    "Loss of the critics",
    "Gradient steps a second",
)
_NUM_SMALL = 3

# Each chart has its own colours.
APART = {"scale": {"color": "independent"}}

# A font that the renderer brings along.
PICTURE_FONT = "Roboto, Arial, sans-serif"

# The tables of a picture by name, with the rows of each.
Datasets = dict[str, list[dict[str, Any]]]


def write_picture(path: Path, groups: Sequence[Group], title: str | None = None) -> bool:
    """Writes a picture of a run, or of several in groups. Does nothing if there is nothing to draw yet.

    Args:
        path: The PNG file.
        groups: The groups of runs.
        title: The title; None for environment and agent.

    Returns:
        Whether there was something to draw.

    Raises:
        DistPolicyError: If the file cannot be written.
    """
    figures = Figures(groups)
    spec = _composed(figures, title)
    if spec is None:
        return False
    import vl_convert

    write_file(path, vl_convert.vegalite_to_png(spec, scale=_SCALE, allowed_base_urls=[]))
    return True


def _composed(figures: Figures, title: str | None) -> dict[str, Any] | None:
    charts = [chart for section in figures.sections() for chart in section.charts]
    main = [chart for chart in figures.learning_curves() if chart is not None]
    small = [chart for wanted in _WANTED for chart in charts if chart.title == wanted][:_NUM_SMALL]
    if not (main or small):
        return None
    datasets: Datasets = {}
    x_title, parts = figures.step_unit, []
    for index, chart in enumerate(main):
        parts.append(placed(chart, f"main{index}", _WIDTH, 300, x_title, datasets))
    width = (_WIDTH - _GAP * 2 * (_NUM_SMALL - 1)) // _NUM_SMALL
    if small:
        row = [placed(chart, f"small{index}", width, 150, x_title, datasets) for index, chart in enumerate(small)]
        parts.append({"hconcat": row, "spacing": _GAP, "resolve": APART})
    run = figures.runs[0]
    runs = f"{run.agent}, seed {run.seed}" if len(figures.runs) == 1 else f"{len(figures.runs)} runs"
    return {
        "$schema": SCHEMA,
        "title": {"text": title or f"{run.env}: {runs}", "fontSize": 17, "offset": 14},
        "vconcat": parts,
        "spacing": _GAP,
        "resolve": APART,
        "datasets": datasets,
        "config": {**chart_config(LIGHT, PICTURE_FONT), "background": LIGHT.card, "padding": 18},
    }


def placed(chart: Chart, prefix: str, width: int, height: int, x_title: str, datasets: Datasets) -> dict[str, Any]:
    """Returns a chart's specification as a part of a picture: with a size and without parameters.

    Args:
        chart: The chart.
        prefix: Begins the names of its tables; no other part has it.
        width: Width in pixels, without axes.
        height: Height in pixels, likewise.
        x_title: What the steps are.
        datasets: Takes the chart's tables.
    """
    for name, table in chart.tables.items():
        datasets[f"{prefix}-{name}"] = _rows(table)
    spec = json.loads(json.dumps(chart.spec).replace(f'"{X_TITLE}"', json.dumps(x_title)))
    layers = spec.get("layer", [spec])
    layers = [layer for layer in layers if not any(one["name"] == "hover" for one in layer.get("params", ()))]
    for layer in layers:
        layer.pop("params", None)
        layer["data"] = {"name": f"{prefix}-{layer['data']['name']}"}
        if chart.legend and len(chart.legend) > 1 and "color" in layer["encoding"]:
            legend = {
                "orient": "top",
                "title": None,
                "symbolType": "stroke",
                "symbolOpacity": 1,
                "symbolStrokeWidth": 3,
            }
            layer["encoding"]["color"]["legend"] = legend
    return {"layer": layers, "width": width, "height": height, "title": chart.title}


def _rows(table: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    names = list(table)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*table.values(), strict=True)]
    if "steps" not in table:
        return rows
    return [{"x": row["steps"], **row} for row in rows if row["steps"] is not None]
