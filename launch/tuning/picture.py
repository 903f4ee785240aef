"""write_picture: a search as a page and as a PNG of its charts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vl_convert

from distpolicy.utils.atomic_files import write_file
from launch.config.search_space import SearchSpace
from launch.reports.charts import SCHEMA, Chart
from launch.reports.picture import APART, PICTURE_FONT, Datasets, placed
from launch.reports.theme import LIGHT
from launch.tuning.charts import charts, search_config, subtitle, title
from launch.tuning.page import page_text
from launch.tuning.results import SearchResult

_SCALE = 2.0
_WIDTH, _HEIGHT, _PANEL, _COLUMNS, _GAP = 600, 240, 240, 4, 70


def write_picture(
    result: SearchResult, space: SearchSpace, strengths: Mapping[str, float], page_file: Path | None = None
) -> Path | None:
    """Writes the page of a search, and a PNG of the same name beside it.

    Args:
        result: The search.
        space: The searched settings.
        strengths: The importance of each setting; empty if it is not known.
        page_file: The HTML file; None for ``search.html`` in the folder of the search.

    Returns:
        The PNG; None if there is no best trial.

    Raises:
        DistPolicyError: If a file cannot be written.
    """
    if result.best is None:
        return None
    page_file = page_file or result.page_file
    path = page_file.with_suffix(".png")
    write_file(page_file, page_text(result, space, strengths))
    spec = picture(result, space, strengths)
    write_file(path, vl_convert.vegalite_to_png(spec, scale=_SCALE, allowed_base_urls=[]))
    return path


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
            **{"text": f"{result.train.env}: {title(result)}", "fontSize": 17, "offset": 14},
            **{"subtitle": subtitle(result), "subtitleColor": LIGHT.muted},
        },
        "vconcat": [{"hconcat": row, "resolve": APART} for row in (top, *rows)],
        "resolve": APART,
        "datasets": datasets,
        "config": {**search_config(LIGHT, PICTURE_FONT, result), "background": LIGHT.card, "padding": 18},
    }
