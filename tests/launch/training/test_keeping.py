"""RunKeeper: which policies are kept as the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from distpolicy.errors import WorkerLostError
from launch.config.train import TrainConfig
from launch.training.keeping import RunKeeper
from launch.training.observer import TrainingObserver
from launch.training.totals import TotalsTracker, TrainingTotals
from workers.collection.evaluator import EvaluationResult


class Kept:
    """Policies that are kept in this process, and no checkpoint."""

    kept_parts: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.best: list[Mapping[str, Mapping[str, bytes]]] = []

    def write(self, policies: Mapping[str, Mapping[str, bytes]], is_best: bool = False) -> None:
        """Keeps the best ones."""
        assert is_best
        self.best.append(policies)

    def save(self, state: dict[str, Any], totals: TrainingTotals) -> Path:
        """Saves nothing."""
        return Path("memory")

    def load_latest(self) -> None:
        """Returns nothing."""


def evaluation(mean_return: float) -> list[EvaluationResult]:
    return [EvaluationResult([mean_return], [1], [False])]


def files(name: str) -> dict[str, dict[str, bytes]]:
    return {"policy": {name: b""}}


def test_policies_that_are_lost_with_the_learner_do_not_count_as_the_best() -> None:
    kept, totals = Kept(), TotalsTracker(TrainConfig(), TrainingTotals())
    keeper = RunKeeper(kept, kept, totals, TrainingObserver())

    def lost() -> dict[str, dict[str, bytes]]:
        raise WorkerLostError("a worker died")

    keeper.keep_if_best(evaluation(1.0), lambda: files("first"))
    with pytest.raises(WorkerLostError):
        keeper.keep_if_best(evaluation(3.0), lost)
    keeper.go_back(TrainingTotals())
    keeper.keep_if_best(evaluation(2.0), lambda: files("second"))
    keeper.keep_if_best(evaluation(1.5), lambda: files("third"))
    assert kept.best == [files("first"), files("second")]
    assert totals.totals.best_evaluation == 2.0
