"""importances: how much each searched setting mattered for the score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from launch.config.search_space import Domain, SearchSpace
from launch.config.setting_names import is_numeric
from launch.config.tune import NUM_REPORTS
from launch.tuning.results import SampleResult, SearchResult

# Below this number of samples, a correlation says nothing.
MIN_SAMPLES = 6


def importances(result: SearchResult, space: SearchSpace) -> dict[str, float]:
    """Returns the strength of each setting's relation to the score, in [0, 1], the strongest first.

    For a number it is the rank correlation (Spearman), for choices the correlation ratio of the ranks: the part of
    their spread that lies between the choices, as a root. A sample that was stopped ranks below those that went
    further, as the scheduler has it. Empty if there are too few samples.

    Args:
        result: The search.
        space: The searched settings.
    """
    samples = [sample for sample in result.samples if not math.isnan(sample.score)]
    if len(samples) < MIN_SAMPLES:
        return {}
    scores = order_of_merit(result, samples)
    found = {
        name: _relation(domain, [sample.settings[name] for sample in samples], scores)
        for name, domain in space.domains.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def order_of_merit(result: SearchResult, samples: Sequence[SampleResult]) -> np.ndarray:
    """Returns the rank of each sample, float64 ``[N]``: by the steps that it was given, then by its score.

    Args:
        result: The search.
        samples: Samples that have a score.
    """
    sign = 1.0 if result.config.mode == "max" else -1.0
    # Trials that end at the same time may differ by the steps of a rollout.
    turns = [round(sample.steps / result.config.trial_steps(result.train) * NUM_REPORTS) for sample in samples]
    keys = [(turn, sign * sample.score) for turn, sample in zip(turns, samples, strict=True)]
    order = sorted(set(keys))
    return _ranks(np.asarray([order.index(key) for key in keys], np.float64))


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
