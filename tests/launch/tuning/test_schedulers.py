"""Successive halving as Tune has it, with the looks that are documented, and with what an interrupted search knew."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from launch.config.search_space import SearchSpace
from launch.config.train import TrainConfig
from launch.config.tune import TuneConfig
from launch.tuning.journal import TrialReport
from launch.tuning.schedulers import RememberingHalving, explored, make_scheduler
from launch.tuning.trial import GIVEN, SCORE, STEPS

STEPS_OF_A_TRIAL, LOOKS = 9000, (1000, 3000)


def trial(name: str) -> Any:
    return SimpleNamespace(trial_id=name)


def halving(
    mode: str = "max", before: list[TrialReport] | None = None, looks: Sequence[int] = LOOKS
) -> RememberingHalving:
    return RememberingHalving(looks, 3, mode, lambda trial: before or [])


def decisions(scheduler: RememberingHalving, name: str, score: float) -> list[int]:
    """Lets a trial report at every ninth of its steps; returns the steps at which it is stopped, if any."""
    one = trial(name)
    scheduler.on_trial_add(None, one)
    for steps in range(1000, STEPS_OF_A_TRIAL + 1, 1000):
        if scheduler.on_trial_result(None, one, {STEPS: steps, SCORE: score}) == TrialScheduler.STOP:
            return [steps]
    return []


@pytest.mark.parametrize("mode", ["max", "min"])
def test_trials_behind_the_others_stop_at_a_ninth_or_a_third_and_never_at_the_end(mode: str) -> None:
    scheduler, sign = halving(mode), 1.0 if mode == "max" else -1.0
    assert decisions(scheduler, "first", sign * 10.0) == []
    assert decisions(scheduler, "worse", sign * 5.0) == [1000]
    assert decisions(scheduler, "better", sign * 20.0) == []
    slow = trial("slow")
    scheduler.on_trial_add(None, slow)
    assert scheduler.on_trial_result(None, slow, {STEPS: 1000, SCORE: sign * 15.0}) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, slow, {STEPS: 3000, SCORE: sign * 15.0}) == TrialScheduler.STOP


def test_a_single_look_is_the_only_one() -> None:
    scheduler = halving(looks=(4000,))
    assert decisions(scheduler, "first", 10.0) == []
    assert decisions(scheduler, "worse", 5.0) == [4000]
    slow = trial("slow")
    scheduler.on_trial_add(None, slow)
    assert scheduler.on_trial_result(None, slow, {STEPS: 4000, SCORE: 15.0}) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, slow, {STEPS: 8000, SCORE: 1.0}) == TrialScheduler.CONTINUE


def test_trials_that_are_over_before_their_scores_tell_anything_are_not_compared() -> None:
    search = {"ppo.learning-rate": "loguniform 1e-4 1e-2"}
    for steps, kind in ((10_000, FIFOScheduler), (11_000, RememberingHalving)):
        config, train = TuneConfig(search, steps=steps), TrainConfig()
        assert type(make_scheduler(config, train, SearchSpace(search, train), lambda trial: [])) is kind


def test_a_resumed_search_compares_with_the_trials_before_it() -> None:
    scheduler = halving()
    assert decisions(scheduler, "alone", 5.0) == []
    scheduler = halving()
    for name, score in (("ended-0", 20.0), ("ended-1", 30.0)):
        scheduler.remember_ended(trial(name), [TrialReport(steps, score, 0.0) for steps in (1000, 3000, 9000)])
    assert decisions(scheduler, "after", 5.0) == [1000]


def test_a_resumed_trial_is_not_judged_again_by_what_it_had_reached() -> None:
    scheduler = halving(before=[TrialReport(1000, 1.0, 0.0), TrialReport(2000, float("nan"), 0.0)])
    scheduler.remember_ended(trial("ended-0"), [TrialReport(1000, 20.0, 0.0)])
    one = trial("resumed")
    scheduler.on_trial_add(None, one)
    assert scheduler.on_trial_result(None, one, {STEPS: 2500, SCORE: 1.0}) == TrialScheduler.CONTINUE


def test_a_changed_configuration_has_the_donor_as_its_source() -> None:
    space = SearchSpace({"ppo.learning-rate": "loguniform 1e-4 1e-2"}, TrainConfig())
    donor = {GIVEN: {"trial": 2, "sample": 2, "seed": 5, "settings": {"ppo.learning-rate": 1e-3}}}
    given = explored(donor, space, np.random.default_rng(0))[GIVEN]
    assert given["source"] == 2
    assert given["settings"] != donor[GIVEN]["settings"]
    assert space.holds(given["settings"])
    assert "source" not in donor[GIVEN]
