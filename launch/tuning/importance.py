"""importances: how much each searched setting mattered for the score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from launch.config.search_space import Domain, SearchSpace
from launch.config.setting_names import is_numeric
from launch.tuning.results import SearchResult, merit

# Below this number of samples, a correlation says nothing.
MIN_SAMPLES = 6


def importances(result: SearchResult, space: SearchSpace) -> dict[str, float]:
    """Returns the strength of each setting's relation to the score, in [0, 1], the strongest first.

    For a number it is the rank correlation (Spearman), for choices the correlation ratio of the ranks: the part of
    their spread that lies between the choices, as a root. Samples are ranked by :func:`launch.tuning.results.merit`;
    those that have failed are left out. Empty if there are too few samples.

    Args:
        result: The search.
        space: The searched settings.
    """
    samples = result.ranked
    if len(samples) < MIN_SAMPLES:
        return {}
    merits = [merit(sample, result.config, result.train) for sample in samples]
    order = sorted(set(merits))
    ranks = _ranks(np.asarray([order.index(one) for one in merits], np.float64))
    found = {
        name: _relation(domain, [sample.settings[name] for sample in samples], ranks)
        for name, domain in space.domains.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _relation(domain: Domain, values: Sequence[Any], ranks: np.ndarray) -> float:
    # What the search begins from may be none of the choices, or no number.
    rows = [row for row, value in enumerate(values) if (domain.holds if domain.is_choice else is_numeric)(value)]
    values, ranks = [values[row] for row in rows], _ranks(ranks[rows])
    spread = float(np.var(ranks)) if rows else 0.0
    if not spread:
        return 0.0
    if domain.is_choice:
        groups = [ranks[[value == choice for value in values]] for choice in domain.values]
        between = sum(group.size * float(np.mean(group) - np.mean(ranks)) ** 2 for group in groups if group.size)
        return math.sqrt(between / (ranks.size * spread))
    numbers = _ranks(np.asarray([float(value) for value in values]))
    if not np.var(numbers):
        return 0.0
    return abs(float(np.corrcoef(numbers, ranks)[0, 1]))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Returns the ranks of values ``[N]``; equal values share their mean rank."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2.0
