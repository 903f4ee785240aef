"""What chooses settings: the same ones for the same seed, valid ones, and Optuna's come nearer to what is good."""

from __future__ import annotations

import math

import numpy as np
import pytest

from launch.config.search_space import SearchSpace
from launch.config.train import TrainConfig
from launch.config.tune import TuneConfig
from launch.tuning.samplers import OptunaSampler, RandomSampler, Sampler, make_sampler

SEARCH = {
    "ppo.learning-rate": "loguniform 1e-5 1e-1",
    "ppo.num-minibatches": "int 1 16",
    "ppo.num-epochs": "choice 4 8",
}


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace(SEARCH, TrainConfig())


def test_a_random_sample_depends_on_the_seed_and_its_number_alone(space: SearchSpace) -> None:
    one, other = RandomSampler(space, 3), RandomSampler(space, 3)
    drawn = [one.draw(sample) for sample in range(4)]
    assert drawn == [other.draw(sample) for sample in reversed(range(4))][::-1]
    assert drawn != [RandomSampler(space, 4).draw(sample) for sample in range(4)]


def quality(settings: dict[str, float]) -> float:
    return -abs(math.log10(settings["ppo.learning-rate"]) + 3.0)


def tried(sampler: Sampler, count: int) -> list[float]:
    scores = []
    for sample in range(count):
        settings = sampler.draw(sample)
        scores.append(quality(settings))
        sampler.tell(sample, settings, scores[-1])
    return scores


def test_optuna_draws_valid_settings(space: SearchSpace) -> None:
    sampler = OptunaSampler(space, 0, "max")
    for sample in range(6):
        settings = sampler.draw(sample)
        assert space.holds(settings)
        assert not space.problem(settings)
        sampler.tell(sample, settings, math.nan if sample % 2 else 1.0)  # One in two has failed.


@pytest.mark.parametrize("mode", ["max", "min"])
def test_optuna_learns_from_scores(mode: str) -> None:
    space = SearchSpace({"ppo.learning-rate": "loguniform 1e-5 1e-1"}, TrainConfig())
    by_model = tried(OptunaSampler(space, 0, mode), 30)[-12:]
    by_chance = tried(RandomSampler(space, 0), 100)
    gain = np.mean(by_model) - np.mean(by_chance)
    assert (gain if mode == "max" else -gain) > 0.3


def test_optuna_takes_in_the_trials_of_an_interrupted_search(space: SearchSpace) -> None:
    sampler = OptunaSampler(space, 1, "max")
    for sample, rate in enumerate(np.geomspace(1e-5, 1e-1, 24)):
        settings = {"ppo.learning-rate": float(rate), "ppo.num-minibatches": 4, "ppo.num-epochs": 8}
        sampler.tell(sample, settings, quality(settings))
    drawn = [sampler.draw(100 + sample) for sample in range(10)]
    assert np.mean([quality(settings) for settings in drawn]) > -0.8
    # What the search began from may be outside the ranges.
    sampler.tell(200, {"ppo.learning-rate": 1.0, "ppo.num-minibatches": 4, "ppo.num-epochs": 8}, 1.0)


@pytest.mark.parametrize("is_resumed", [False, True])
def test_optuna_holds_stopped_samples_below_those_that_finished(is_resumed: bool) -> None:
    """Those that were stopped had high scores, at large rates. Others are better the nearer they are to 1e-3."""
    space = SearchSpace({"ppo.learning-rate": "loguniform 1e-5 1e-1"}, TrainConfig())
    asked = OptunaSampler(space, 0, "max")
    sampler = OptunaSampler(space, 0, "max") if is_resumed else asked
    for sample in range(40):
        settings = asked.draw(sample)
        is_stopped = settings["ppo.learning-rate"] > 4e-3
        for one in {asked, sampler}:
            one.tell(sample, settings, 100.0 if is_stopped else quality(settings), 9 if is_stopped else math.inf)
    drawn = [sampler.draw(100 + sample)["ppo.learning-rate"] for sample in range(10)]
    assert np.median(np.log10(drawn)) == pytest.approx(-3.0, abs=0.7)


@pytest.mark.parametrize("count", [1, 15])
def test_optuna_goes_on_as_if_it_had_not_been_interrupted(space: SearchSpace, count: int) -> None:
    """By chance at first, and by its model later."""
    whole, resumed = OptunaSampler(space, 2, "max"), OptunaSampler(space, 2, "max")
    earlier = []
    for sample in range(count):
        settings = whole.draw(sample)
        whole.tell(sample, settings, quality(settings))
        resumed.tell(sample, settings, quality(settings))
        earlier.append(settings)
    drawn = whole.draw(count)
    assert drawn not in earlier
    assert resumed.draw(count) == drawn


def test_the_config_chooses(space: SearchSpace) -> None:
    assert isinstance(make_sampler(TuneConfig(SEARCH), space, 0), RandomSampler)
    assert isinstance(make_sampler(TuneConfig(SEARCH, searcher="optuna"), space, 0), OptunaSampler)
