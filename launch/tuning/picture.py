"""write_picture: a picture of a search, as a page and as a PNG: the trials' curves, and what mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import vl_convert

from distpolicy.utils.atomic_files import write_file
from launch.config.search_space import Domain, SearchSpace
from launch.config.setting_names import setting_text
from launch.reports.theme import LIGHT, chart_config
from launch.tuning.importance import MIN_SAMPLES
from launch.tuning.results import SampleResult, SearchResult

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_SCALE = 2.0
_WIDTH, _HEIGHT, _PANEL, _COLUMNS, _GAP = 600, 240, 240, 4, 70
_STOPPED, _FINISHED, _BEST, _FIRST = "#b4bdca", LIGHT.muted, LIGHT.runs[1], LIGHT.runs[0]
_FONT = "Roboto, Arial, sans-serif"  # The renderer brings it along.
_CONFIG = {
    **chart_config(LIGHT, _FONT),
    "background": LIGHT.card,
    "padding": 18,
    "legend": {"title": None, "orient": "top", "labelColor": LIGHT.muted},
}
# Where an axis of sizes has its labels.
_ROUND = [digit * 10.0**exponent for exponent in range(-12, 13) for digit in (1, 3)]
_ROLES = {"domain": ["best", "as given", "finished", "stopped"], "range": [_BEST, _FIRST, _FINISHED, _STOPPED]}


def write_picture(result: SearchResult, space: SearchSpace, strengths: Mapping[str, float]) -> Path | None:
    """Writes ``search.html`` and ``search.png`` into the folder of a search.

    Args:
        result: The search.
        space: The searched settings.
        strengths: The importance of each setting; empty if it is not known.

    Returns:
        The PNG; None if no trial has a score.

    Raises:
        DistPolicyError: If a file cannot be written.
    """
    if result.best is None:
        return None
    spec = picture(result, space, strengths)
    path = result.folder / "search.png"
    write_file(path, vl_convert.vegalite_to_png(spec, scale=_SCALE))
    write_file(result.folder / "search.html", vl_convert.vegalite_to_html(spec, bundle=True))
    return path


def picture(result: SearchResult, space: SearchSpace, strengths: Mapping[str, float]) -> dict[str, Any]:
    """Returns the picture as a Vega-Lite specification; see :func:`write_picture`."""
    names = list(strengths) or list(space.domains)
    columns = math.ceil(len(names) / math.ceil(len(names) / _COLUMNS))
    width = min((_WIDTH + _PANEL + _GAP * 2) // columns - _GAP, _WIDTH // 2)
    panels = [_setting(result, name, space.domains[name], width) for name in names]
    rows = [panels[begin : begin + columns] for begin in range(0, len(panels), columns)]
    top = [_curves(result), _bars(strengths)] if strengths else [_curves(result)]
    count = sum(len(sample.records) for sample in result.samples)
    few = "" if strengths else f" · what mattered is told from {MIN_SAMPLES} samples on"
    return {
        "$schema": _SCHEMA,
        "title": {
            "text": f"{result.train.env}: {count} trials of {result.train.agent.kind}",
            "subtitle": f"{result.config.scheduler}, {result.config.searcher}{few}",
        },
        "vconcat": [{"hconcat": top}, *({"hconcat": row} for row in rows)],
        "resolve": {"scale": {"color": "shared"}},
        "config": _CONFIG,
    }


def _curves(result: SearchResult) -> dict[str, Any]:
    rows = [
        {"trial": record.trial, "steps": report.steps, "score": report.score, "role": _role(result, sample)}
        for sample in result.samples
        for record in sample.records
        for report in record.reports
        if not math.isnan(report.score)
    ]
    return {
        "title": "Trials",
        "data": {"values": rows},
        "width": _WIDTH if len(result.samples) >= MIN_SAMPLES else _WIDTH + _PANEL,
        "height": _HEIGHT,
        "mark": {"type": "line", "tooltip": True, "strokeWidth": 1.5, "point": {"size": 12}},
        "encoding": {
            "x": {"field": "steps", "type": "quantitative", "title": result.train.step_unit, "axis": {"format": "~s"}},
            "y": {"field": "score", "type": "quantitative", "title": result.config.metric, "scale": {"zero": False}},
            "detail": {"field": "trial"},
            "color": _color(),
        },
    }


def _bars(strengths: Mapping[str, float]) -> dict[str, Any]:
    rows = [{"setting": name, "strength": strength} for name, strength in strengths.items()]
    return {
        "title": "What mattered",
        "data": {"values": rows},
        "width": _PANEL,
        "height": _HEIGHT,
        "mark": {"type": "bar", "tooltip": True, "color": _FIRST, "height": {"band": 0.6}},
        "encoding": {
            "x": {
                "field": "strength",
                "type": "quantitative",
                "title": "correlation with the score, by ranks",
                "scale": {"domain": [0, 1]},
            },
            "y": {"field": "setting", "type": "nominal", "title": None, "sort": None},
        },
    }


def _setting(result: SearchResult, name: str, domain: Domain, width: int) -> dict[str, Any]:
    rows = [
        {
            "value": setting_text(sample.settings[name]) if domain.is_choice else float(sample.settings[name]),
            "score": sample.score,
            "trial": sample.sample,
            "role": _role(result, sample),
            "steps": sample.steps,
        }
        for sample in _scored(result.samples)
    ]
    x: dict[str, Any] = {"field": "value", "title": name}
    if domain.is_choice:
        # Those that the search begins from need not be among the choices.
        values = list(dict.fromkeys([*domain.values, *(sample.settings[name] for sample in result.samples)]))
        if all(isinstance(value, int | float) for value in values):
            values.sort()
        x |= {"type": "ordinal", "sort": [setting_text(value) for value in values], "axis": {"labelAngle": 0}}
    else:
        scale = {"type": "log", "nice": False} if domain.is_log else {"zero": False}
        axis: dict[str, Any] = {"format": "~g", "tickCount": 4, "labelOverlap": True}
        if domain.is_log:
            axis["values"] = [value for value in _ROUND if domain.values[0] <= value <= domain.values[1]]
        x |= {"type": "quantitative", "scale": {**scale, "padding": 10}, "axis": axis}
    return {
        "data": {"values": rows},
        "width": width,
        "height": _PANEL * 2 // 3,
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9, "tooltip": True},
        "encoding": {
            "x": x,
            "y": {"field": "score", "type": "quantitative", "title": result.config.metric, "scale": {"zero": False}},
            "color": _color(),
        },
    }


def _color() -> dict[str, Any]:
    return {"field": "role", "type": "nominal", "scale": _ROLES}


def _role(result: SearchResult, sample: SampleResult) -> str:
    if result.best is not None and sample.sample == result.best.sample:
        return "best"
    if sample.sample == 0:
        return "as given"
    return "finished" if "finished" in sample.state else "stopped"


def _scored(samples: Sequence[SampleResult]) -> list[SampleResult]:
    return [sample for sample in samples if not math.isnan(sample.score)]
