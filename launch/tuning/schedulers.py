"""The schedulers of a search: successive halving and population based training, as Ray Tune has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler

from launch.config.search_space import SearchSpace
from launch.config.tune import TuneConfig
from launch.tuning.journal import TrialReport
from launch.tuning.trial import GIVEN, SCORE, STEPS

_EXCHANGES = 8


class RememberingHalving(AsyncHyperBandScheduler):
    """Asynchronous successive halving (Li et al., 2018) that knows the reports of an interrupted search.

    Args:
        max_steps: Steps of a trial that is not stopped.
        reduction: One part in so many goes on after each look.
        mode: ``max`` or ``min``.
        before: Returns the reports that a trial of Tune's has made before the search was interrupted.
    """

    def __init__(self, max_steps: int, reduction: int, mode: str, before: Callable[[Any], list[TrialReport]]) -> None:
        super().__init__(
            time_attr=STEPS,
            metric=SCORE,
            mode=mode,
            # Two looks, at 1/9 and 1/3 with a reduction of 3. None at the end, where nothing is saved by stopping.
            grace_period=max(max_steps // reduction**2, 1),
            max_t=max(max_steps * 3 // (2 * reduction), 1),
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
    space: SearchSpace,
    max_steps: int,
    seed: int,
    before: Callable[[Any], list[TrialReport]],
) -> TrialScheduler:
    """Returns the scheduler that a search asks for.

    Args:
        config: The search.
        space: The searched settings.
        max_steps: Steps of a trial.
        seed: Seed of changed settings.
        before: As for :class:`RememberingHalving`.
    """
    if config.scheduler == "asha":
        return RememberingHalving(max_steps, config.reduction, config.mode, before)
    if config.scheduler == "pbt":
        random = np.random.default_rng(seed)
        return PopulationBasedTraining(
            time_attr=STEPS,
            metric=SCORE,
            mode=config.mode,
            # Trials report when an exchange is due. They count updates, which have fewer steps where episodes begin.
            perturbation_interval=max(perturbation_steps(config, max_steps) // 2, 1),
            custom_explore_fn=lambda donor: explored(donor, space, random),
            log_config=False,
            require_attrs=False,
        )
    return FIFOScheduler()


def perturbation_steps(config: TuneConfig, max_steps: int) -> int:
    """Returns the steps of a trial between two exchanges."""
    return config.perturb_every or max(max_steps // _EXCHANGES, 1)


def explored(donor: Mapping[str, Any], space: SearchSpace, random: np.random.Generator) -> dict[str, Any]:
    """Returns the configuration of a trial that goes on from another one's checkpoint.

    Args:
        donor: The configuration of the other trial.
        space: The searched settings.
        random: Source of the changes.
    """
    given = donor[GIVEN]
    return {GIVEN: {**given, "settings": space.perturbed(given["settings"], random), "source": given["trial"]}}
