"""write_picture: a picture of a search, as a page and as a PNG: the trials' curves, and what mattered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import vl_convert

from distpolicy.utils.atomic_files import write_file
from launch.config.codec import to_dict
from launch.config.common import counted
from launch.config.flat_settings import flat
from launch.config.search_space import Domain, SearchSpace
from launch.config.setting_names import is_numeric, setting_text
from launch.reports.charts import SCHEMA, X_TITLE, Chart, coloured, zoom
from launch.reports.html_page import HtmlPage
from launch.reports.picture import APART, PICTURE_FONT, Datasets, placed
from launch.reports.theme import DARK, FONT, LIGHT, Theme, chart_config
from launch.tuning.importance import MIN_SAMPLES
from launch.tuning.results import SampleResult, SearchResult

_SCALE = 2.0
_WIDTH, _HEIGHT, _PANEL, _COLUMNS, _GAP = 600, 240, 240, 4, 70

# What a sample is in the picture, in the order of the colours, with the page's variable of each. Later ones are drawn
# over earlier ones.
_ROLES = {"stopped": "--faint", "finished": "--muted", "as given": "--run0", "best": "--run1"}

# Where an axis of sizes has its labels.
_ROUND = [digit * 10.0**exponent for exponent in range(-12, 13) for digit in (1, 3)]


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
    path = result.folder / "search.png"
    write_file(result.folder / "search.html", page(result, space, strengths))
    spec = picture(result, space, strengths)
    write_file(path, vl_convert.vegalite_to_png(spec, scale=_SCALE, allowed_base_urls=[]))
    return path


def page(result: SearchResult, space: SearchSpace, strengths: Mapping[str, float]) -> str:
    """Returns the page as HTML; see :func:`write_picture`."""
    made = HtmlPage({"steps": result.train.step_unit}, {"light": _config(LIGHT, FONT), "dark": _config(DARK, FONT)})
    cards = "".join(map(made.card, charts(result, space, strengths)))
    body = f"<div class=charts style='margin-top:22px'>{cards}</div>"
    return made.text(result.train.env, f"{_title(result)} · {_how(result)}", body)


def picture(result: SearchResult, space: SearchSpace, strengths: Mapping[str, float]) -> dict[str, Any]:
    """Returns the picture as a Vega-Lite specification; see :func:`write_picture`."""
    curves, *others = charts(result, space, strengths)
    bars, panels = (others[:1], others[1:]) if strengths else ([], others)
    datasets: Datasets = {}

    def part(chart: Chart, width: int, height: int) -> dict[str, Any]:
        return placed(chart, f"part{len(datasets)}", width, height, result.train.step_unit, datasets)

    top = [part(curves, _WIDTH if bars else _WIDTH + _PANEL, _HEIGHT), *(part(bar, _PANEL, _HEIGHT) for bar in bars)]
    columns = math.ceil(len(panels) / math.ceil(len(panels) / _COLUMNS))
    width = min((_WIDTH + _PANEL + _GAP * 2) // columns - _GAP, _WIDTH // 2)
    shown = [part(panel, width, _PANEL * 2 // 3) for panel in panels]
    rows = [shown[begin : begin + columns] for begin in range(0, len(shown), columns)]
    return {
        "$schema": SCHEMA,
        "title": {
            **{"text": f"{result.train.env}: {_title(result)}", "fontSize": 17, "offset": 14},
            **{"subtitle": _how(result), "subtitleColor": LIGHT.muted},
        },
        "vconcat": [{"hconcat": row, "resolve": APART} for row in (top, *rows)],
        "resolve": APART,
        "datasets": datasets,
        "config": {**_config(LIGHT, PICTURE_FONT), "background": LIGHT.card, "padding": 18},
    }


def charts(result: SearchResult, space: SearchSpace, strengths: Mapping[str, float]) -> list[Chart]:
    """Returns the trials' curves, what mattered if it is known, and the score by each setting.

    Args:
        result: The search.
        space: The searched settings.
        strengths: The importance of each setting; empty if it is not known.
    """
    samples = sorted(
        (sample for sample in result.samples if not math.isnan(sample.score)),
        key=lambda sample: list(_ROLES).index(_role(result, sample)),
    )
    names = list(strengths) or list(space.domains)
    panels = [_setting(result, samples, name, space.domains[name]) for name in names]
    return [_curves(result, samples), *([_bars(strengths)] if strengths else []), *panels]


def _title(result: SearchResult) -> str:
    agent = flat(to_dict(result.train))["agent"]
    return f"{counted(sum(len(sample.records) for sample in result.samples), 'trial')} of {agent}"


def _how(result: SearchResult) -> str:
    scored = sum(not math.isnan(sample.score) for sample in result.samples)
    few = "" if scored >= MIN_SAMPLES else f" · what mattered is told from {MIN_SAMPLES} samples on"
    return f"{result.config.scheduler}, {result.config.searcher}{few}"


def _config(theme: Theme, font: str) -> dict[str, Any]:
    return chart_config(theme, font, (theme.faint, theme.muted, theme.runs[0], theme.runs[1]))


def _curves(result: SearchResult, samples: Sequence[SampleResult]) -> Chart:
    rows = [
        {"name": _role(result, sample), "trial": record.trial, "steps": report.steps, "score": report.score}
        for sample in samples
        for record in sample.records
        for report in record.reports
        if math.isfinite(report.score)
    ]
    spec = {
        "data": {"name": "reports"},
        "params": [zoom()],
        "mark": {"type": "line", "clip": True, "strokeWidth": 1.5, "point": {"size": 12}},
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "title": X_TITLE,
                "axis": {"format": "~s"},
                "scale": {"nice": False, "zero": False, "padding": 8},
            },
            "y": _y(result),
            "detail": {"field": "trial"},
            "color": coloured(list(_ROLES)),
            "tooltip": [{"field": "trial", "title": "trial"}, *_tooltip(result)],
        },
    }
    used = dict.fromkeys(_role(result, sample) for sample in samples)
    legend = tuple((role, colour) for role, colour in _ROLES.items() if role in used)
    return Chart(
        "Trials",
        spec,
        {"reports": _table(rows, "name", "trial", "steps", "score")},
        legend=legend,
        height=300,
        is_wide=True,
    )


def _bars(strengths: Mapping[str, float]) -> Chart:
    rows = [{"setting": name, "strength": strength} for name, strength in strengths.items()]
    x = {"field": "strength", "type": "quantitative", "title": "correlation with the score, by ranks"}
    spec = {
        "data": {"name": "strengths"},
        "mark": {"type": "bar", "height": {"band": 0.6}},
        "encoding": {
            "x": {**x, "scale": {"domain": [0, 1]}},
            "y": {"field": "setting", "type": "nominal", "title": None, "sort": None, "axis": {"grid": False}},
            "tooltip": [{"field": "setting", "title": "setting"}, {**x, "format": ".2f"}],
        },
    }
    height = 60 + 26 * len(strengths)
    return Chart("What mattered", spec, {"strengths": _table(rows, "setting", "strength")}, height=height, is_wide=True)


def _setting(result: SearchResult, samples: Sequence[SampleResult], name: str, domain: Domain) -> Chart:
    rows = [
        {
            "value": setting_text(value) if domain.is_choice else float(value),
            "name": _role(result, sample),
            "sample": sample.sample,
            "steps": sample.steps,
            "score": sample.score,
        }
        for sample in samples
        if math.isfinite(sample.score) and _has_place(domain, value := sample.settings[name])
    ]
    x = {"field": "value", "title": None, **_axis(domain, [sample.settings[name] for sample in samples])}
    spec = {
        "data": {"name": "samples"},
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9},
        "encoding": {
            "x": x,
            "y": _y(result),
            "color": coloured(list(_ROLES)),
            "tooltip": [
                {"field": "value", "title": name, "type": x["type"]},
                {"field": "sample", "title": "sample"},
                *_tooltip(result),
            ],
        },
    }
    return Chart(name, spec, {"samples": _table(rows, "value", "name", "sample", "steps", "score")})


def _has_place(domain: Domain, value: Any) -> bool:
    """Returns True if an axis can show a value. The settings that a search begins from may be of another kind."""
    return domain.is_choice or (is_numeric(value) and (value > 0 or not domain.is_log))


def _axis(domain: Domain, used: Iterable[Any]) -> dict[str, Any]:
    if domain.is_choice:
        # Those that the search begins from need not be among the choices.
        values = {setting_text(value): value for value in (*domain.values, *used)}
        words = list(values)
        if all(map(is_numeric, values.values())):
            words.sort(key=lambda word: values[word])
        return {"type": "ordinal", "sort": words, "axis": {"labelAngle": 0, "labelOverlap": True}}
    scale = {"type": "log", "nice": False} if domain.is_log else {"zero": False}
    axis: dict[str, Any] = {"format": "~g", "tickCount": 4, "labelOverlap": True}
    if domain.is_log:
        axis["values"] = [value for value in _ROUND if domain.values[0] <= value <= domain.values[1]]
    return {"type": "quantitative", "scale": {**scale, "padding": 10}, "axis": axis}


def _y(result: SearchResult) -> dict[str, Any]:
    return {"field": "score", "type": "quantitative", "title": result.config.metric, "scale": {"zero": False}}


def _tooltip(result: SearchResult) -> list[dict[str, Any]]:
    return [
        {"field": "steps", "title": result.train.step_unit, "type": "quantitative", "format": ",.0f"},
        {"field": "score", "title": result.config.metric, "type": "quantitative", "format": ",.5~g"},
        {"field": "name", "title": "state"},
    ]


def _table(rows: Sequence[Mapping[str, Any]], *columns: str) -> dict[str, list[Any]]:
    """Returns rows as the columns of a chart's table."""
    return {name: [row[name] for row in rows] for name in columns}


def _role(result: SearchResult, sample: SampleResult) -> str:
    if result.best is not None and sample.sample == result.best.sample:
        return "best"
    if sample.sample == 0:
        return "as given"
    return "finished" if "finished" in sample.state else "stopped"
