"""The charts of a search: the trials' curves, what mattered, and the score by each setting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launch.config.common import counted
from launch.config.search_space import Domain, SearchSpace
from launch.config.setting_names import is_numeric, setting_text
from launch.reports.charts import X_TITLE, Chart, coloured, zoom
from launch.reports.theme import Theme, chart_config, colours_by_name
from launch.tuning.importance import MIN_SAMPLES
from launch.tuning.journal import FAILED, FINISHED, STOPPED, UNFINISHED
from launch.tuning.results import SampleResult, SearchResult

# What a sample is in the picture, with the name of its colour. Later ones are drawn over earlier ones.
_BEST, _BEST_AS_GIVEN = "best", "as given and best"
_ROLES = {
    FAILED: "alert",
    STOPPED: "faint",
    UNFINISHED: "run2",
    FINISHED: "muted",
    "as given": "run0",
    _BEST: "run1",
    _BEST_AS_GIVEN: "run1",
}

# Pixels between the outermost points and the axes.
_PADDING = 10

# An axis of sizes has labels at 1 and 3 of each decade; at 1, 2 and 5 if it is shorter than this.
_SHORT_DECADES = 2.0


def charts(result: SearchResult, space: SearchSpace, strengths: Mapping[str, float]) -> list[Chart]:
    """Returns the trials' curves, what mattered if it is known, and the score by each setting.

    Args:
        result: The search.
        space: The searched settings.
        strengths: The importance of each setting; empty if it is not known.
    """
    roles = list(_ROLES)
    samples = sorted(result.scored, key=lambda sample: roles.index(_role(result, sample)))
    names = list(strengths) or list(space.domains)
    panels = [_setting(result, samples, name, space.domains[name]) for name in names]
    return [_curves(result, samples), *([_bars(strengths)] if strengths else []), *panels]


def search_config(theme: Theme, font: str, result: SearchResult) -> dict[str, Any]:
    """Returns Vega-Lite's ``config`` of a theme with the colours of a search."""
    return chart_config(theme, font, [colours_by_name(theme)[colour] for colour in _roles(result).values()])


def title(result: SearchResult) -> str:
    """Returns the number of trials and the agent."""
    return f"{counted(len(result.records), 'trial')} of {result.agent}"


def subtitle(result: SearchResult) -> str:
    """Returns how the search was made."""
    few = "" if len(result.ranked) >= MIN_SAMPLES else f" · what mattered is told from {MIN_SAMPLES} samples on"
    return f"{result.config.scheduler}, {result.config.searcher}{few}"


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
            "color": coloured(list(_roles(result))),
            "tooltip": [{"field": "trial", "title": "trial"}, *_tooltip(result)],
        },
    }
    return Chart(
        "Trials",
        spec,
        {"reports": _table(rows, "name", "trial", "steps", "score")},
        legend=tuple((role, f"--{colour}") for role, colour in _roles(result).items()),
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
            "color": coloured(list(_roles(result))),
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
        shown = [float(value) for value in used if _has_place(domain, value)] or domain.values
        labels = _sizes(min(shown), max(shown))
        # Vega finds round numbers by itself where the ends are near each other.
        axis |= {"values": labels} if len(labels) > 1 else {}
    return {"type": "quantitative", "scale": {**scale, "padding": _PADDING}, "axis": axis}


def _sizes(low: float, high: float) -> list[float]:
    """Returns the round numbers at which an axis of sizes has its labels."""
    digits = (1, 2, 5) if math.log10(high / low) < _SHORT_DECADES else (1, 3)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # Read from text: a product such as 3 * 10**-4 is beside the number that is meant.
    sizes = [float(f"{digit}e{exponent}") for exponent in exponents for digit in digits]
    return [size for size in sizes if low <= size <= high]


def _y(result: SearchResult) -> dict[str, Any]:
    scale = {"zero": False, "padding": _PADDING}
    return {"field": "score", "type": "quantitative", "title": result.config.metric, "scale": scale}


def _tooltip(result: SearchResult) -> list[dict[str, Any]]:
    return [
        {"field": "steps", "title": result.train.step_unit, "type": "quantitative", "format": ",.0f"},
        {"field": "score", "title": result.config.metric, "type": "quantitative", "format": ",.5~g"},
        {"field": "name", "title": "state"},
    ]


def _table(rows: Sequence[Mapping[str, Any]], *columns: str) -> dict[str, list[Any]]:
    """Returns rows as the columns of a chart's table."""
    return {name: [row[name] for row in rows] for name in columns}


def _roles(result: SearchResult) -> dict[str, str]:
    """Returns the names of the colours of the roles that there are."""
    used = {_role(result, sample) for sample in result.scored}
    return {role: colour for role, colour in _ROLES.items() if role in used}


def _role(result: SearchResult, sample: SampleResult) -> str:
    if result.best is not None and sample.sample == result.best.sample:
        return _BEST if sample.sample else _BEST_AS_GIVEN
    if sample.sample == 0:
        return "as given"
    # The seeds of a sample may have ended in different ways.
    states = {record.outcome for record in sample.records}
    return next(state for state in (FAILED, FINISHED, UNFINISHED, STOPPED) if state in states)
