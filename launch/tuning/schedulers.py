"""The schedulers of a search: successive halving and population based training, as Ray Tune has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler

from launch.config.search_space import SearchSpace
from launch.config.train import TrainConfig
from launch.config.tune import TuneConfig
from launch.tuning.journal import TrialReport
from launch.tuning.trial import GIVEN, SCORE, STEPS


class RememberingHalving(AsyncHyperBandScheduler):
    """Asynchronous successive halving (Li et al., 2018) that knows the reports of an interrupted search.

    Args:
        looks: The steps at which trials are compared: one number, or a second one that is ``reduction`` times as large.
        reduction: One part in so many goes on after each look.
        mode: ``max`` or ``min``.
        before: Returns the reports that a trial of Tune's has made before the search was interrupted.
    """

    def __init__(
        self, looks: Sequence[int], reduction: int, mode: str, before: Callable[[Any], list[TrialReport]]
    ) -> None:
        super().__init__(
            time_attr=STEPS,
            metric=SCORE,
            mode=mode,
            grace_period=looks[0],
            # Less than a third look. There is none at the end, where nothing is saved by stopping.
            max_t=looks[-1] * 3 // 2,
            reduction_factor=reduction,
            # The trial ends by itself: steps of a rollout may go beyond the last one.
            stop_last_trials=False,
        )
        self._before = before

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, trial)
        for report in self._before(trial):
            self.remember(trial, report)

    def remember(self, trial: Any, report: TrialReport) -> None:
        """Counts an earlier report, so that later trials are compared with it.

        Args:
            trial: A trial of Tune's that was added, or what stands for one that is over.
            report: The report.
        """
        if report.score == report.score:
            self.on_trial_result(None, trial, {STEPS: report.steps, SCORE: report.score})

    def remember_ended(self, trial: Any, reports: list[TrialReport]) -> None:
        """Counts the reports of a trial that is over."""
        super().on_trial_add(None, trial)
        for report in reports:
            self.remember(trial, report)


def make_scheduler(
    config: TuneConfig,
    train: TrainConfig,
    space: SearchSpace,
    before: Callable[[Any], list[TrialReport]],
) -> TrialScheduler:
    """Returns the scheduler that a search asks for.

    Args:
        config: The search.
        train: The settings that it begins from.
        space: The searched settings.
        before: As for :class:`RememberingHalving`.
    """
    if config.scheduler == "asha" and (looks := config.looks(train)):
        return RememberingHalving(looks, config.reduction, config.mode, before)
    if config.scheduler == "pbt":
        random = np.random.default_rng(train.seed)
        return PopulationBasedTraining(
            time_attr=STEPS,
            metric=SCORE,
            mode=config.mode,
            # Every report is a time to exchange. This is half of the steps between two reports: they are not all alike,
            # and Tune would leave out a report that comes a few steps early.
            perturbation_interval=config.exchange_steps(train) / 2,
            custom_explore_fn=lambda donor: explored(donor, space, random),
            log_config=False,
            require_attrs=False,
        )
    return FIFOScheduler()


def explored(donor: Mapping[str, Any], space: SearchSpace, random: np.random.Generator) -> dict[str, Any]:
    """Returns the configuration of a trial that goes on from another one's checkpoint.

    Args:
        donor: The configuration of the other trial.
        space: The searched settings.
        random: Source of the changes.
    """
    given = donor[GIVEN]
    return {GIVEN: {**given, "settings": space.perturbed(given["settings"], random), "source": given["trial"]}}
