from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest

from distpolicy.agents.agent_config import AgentConfig
from launch.config.train import TrainConfig
from launch.training.console import describe_lag
from launch.training.totals import TotalsTracker, TrainingTotals, UpdateResult
from workers.collection.rollout_report import RolloutReport

NUM_SLOTS, NUM_STEPS, NUM_EPISODES = 64, 50, 193
TARGET = 10.0


class Episode(NamedTuple):
    """An episode that ended."""

    step: int
    slot: int
    value: float


def some_episodes() -> list[Episode]:
    """Episodes of one rollout, in order of their ends; several end at the same step."""
    generator = np.random.default_rng(7)
    places = np.sort(generator.choice(NUM_STEPS * NUM_SLOTS, NUM_EPISODES, replace=False))
    values = generator.normal(size=NUM_EPISODES)
    return [Episode(*divmod(int(place), NUM_SLOTS), float(value)) for place, value in zip(places, values, strict=True)]


def report(
    collector: int, episodes: Sequence[Episode], first_slot: int = 0, generation: int = 0, number: int = 0
) -> RolloutReport:
    """A report as collectors make it: episodes in order of step and row. An episode is as long as its value says."""
    return RolloutReport(
        collector=collector,
        generation=generation,
        number=number,
        weights=None,
        num_env_steps=100,
        episode_returns=[episode.value for episode in episodes],
        episode_lengths=[round(100 + episode.value) for episode in episodes],
        episode_ends=[(episode.slot - first_slot, episode.step) for episode in episodes],
        env_s=0.0,
        policy_s=0.0,
        total_s=0.0,
        wait_s=0.0,
        first_step_time=0.0,
    )


def spread(episodes: Sequence[Episode], num_collectors: int) -> list[RolloutReport]:
    """One rollout of all slots, from one or several collectors."""
    size = NUM_SLOTS // num_collectors
    return [
        report(index, [episode for episode in episodes if episode.slot // size == index], index * size)
        for index in range(num_collectors)
    ]


def added(reports: Sequence[RolloutReport], before: TrainingTotals | None = None) -> UpdateResult:
    return TotalsTracker(TrainConfig(target_return=TARGET), before or TrainingTotals()).add(reports, {})


def same_value(count: int, value: float) -> list[RolloutReport]:
    """A report of so many episodes of one return."""
    return [report(0, [Episode(step, 0, value) for step in range(count)])]


@pytest.mark.parametrize("num_collectors", [1, 2, 4])
def test_the_last_100_episodes_are_those_that_ended_last_whoever_ran_them(num_collectors: int) -> None:
    episodes = some_episodes()
    expected = [episode.value for episode in episodes]
    for reports in (spread(episodes, num_collectors), spread(episodes, num_collectors)[::-1]):
        result = added(reports)
        assert result.totals.recent_returns == tuple(expected[-100:])
        assert result.totals.episodes == NUM_EPISODES
        assert result.metrics["return_mean_100"] == np.mean(expected[-100:])
        assert result.metrics["episode_return"] == np.mean(expected)
        assert result.metrics["episode_length"] == np.mean([round(100 + value) for value in expected])


@pytest.mark.parametrize("second", [{"generation": 0, "number": 5}, {"generation": 3, "number": 0}])
def test_a_collector_s_second_rollout_of_an_update_comes_after_its_first(second: dict[str, int]) -> None:
    first_rollout = report(0, [Episode(3, 0, 1.0), Episode(9, 1, 4.0)], number=4)
    second_rollout = report(0, [Episode(0, 1, 5.0), Episode(4, 0, 6.0)], **second)
    beside = report(1, [Episode(3, 2, 2.0), Episode(8, 3, 3.0)], first_slot=2)
    for reports in ([first_rollout, second_rollout, beside], [second_rollout, beside, first_rollout]):
        assert added(reports).totals.recent_returns == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def test_a_run_is_solved_by_100_episodes_and_not_by_fewer() -> None:
    tracker = TotalsTracker(TrainConfig(target_return=TARGET), TrainingTotals())
    assert not tracker.add(same_value(99, 5 * TARGET), {}).totals.solved
    assert tracker.add(same_value(1, 5 * TARGET), {}).totals.solved


def test_only_the_last_100_episodes_say_whether_a_run_is_solved() -> None:
    tracker = TotalsTracker(TrainConfig(target_return=TARGET), TrainingTotals())
    assert not tracker.add(same_value(300, -1e6), {}).totals.solved
    assert not tracker.add(same_value(99, TARGET), {}).totals.solved
    result = tracker.add(same_value(1, TARGET), {})
    assert result.totals.solved
    assert result.totals.solved_return == TARGET
    assert result.totals.recent_returns == (TARGET,) * 100
    later = tracker.add(same_value(100, -1e6), {}).totals
    assert later.solved, "once solved, it stays so"
    assert later.solved_return == TARGET


def test_the_seconds_to_a_target_have_the_evaluation_in_them_that_reaches_it() -> None:
    tracker = TotalsTracker(TrainConfig(target_return=TARGET, agent=AgentConfig.of_kind("dqn")()), TrainingTotals())
    before = tracker.add(same_value(1, 0.0), {}).totals
    time.sleep(0.05)  # The evaluation.
    tracker.solve_by_evaluation(TARGET)
    assert tracker.totals.solved
    assert tracker.totals.train_s >= before.train_s + 0.05


def test_the_seconds_of_training_at_a_clock_time_go_on_when_the_run_goes_back() -> None:
    before = TrainingTotals(train_s=5.0)
    tracker = TotalsTracker(TrainConfig(), before)
    assert tracker.train_s_at(time.time()) == 5.0, "no env step yet"
    result = tracker.add(same_value(1, 0.0), {})
    tracker.go_back(before)
    begun = result.first_step_time
    assert tracker.train_s_at(begun + 50.0) == pytest.approx(55.0)
    assert tracker.train_s_at(begun - 1.0) == 5.0, "a worker that was lost while it started"


def test_whether_a_run_is_solved_does_not_depend_on_the_spread() -> None:
    """The last 100 of all reach the target; the last 100 of the collectors one after the other would not."""
    episodes = [
        episode._replace(value=TARGET if index >= NUM_EPISODES - 100 else -1.0)
        for index, episode in enumerate(some_episodes())
    ]
    assert [added(spread(episodes, num)).totals.solved for num in (1, 2, 4)] == [True] * 3
    without_target = TotalsTracker(TrainConfig(target_return=None), TrainingTotals())
    assert not without_target.add(spread(episodes, 1), {}).totals.solved


def test_a_resumed_run_goes_on_with_the_returns_that_it_had() -> None:
    before = added(same_value(60, TARGET)).totals
    assert not before.solved
    after = added(same_value(40, TARGET), dataclasses.replace(before, train_s=5.0)).totals
    assert (after.updates, after.env_steps, after.episodes) == (2, 200, 100)
    assert after.solved
    assert after.train_s > 5.0


def test_the_share_of_time_that_collectors_are_busy_is_of_all_of_them_together() -> None:
    slow = dataclasses.replace(report(0, []), total_s=3.0, wait_s=0.0)
    fast = dataclasses.replace(report(1, []), total_s=1.0, wait_s=2.0)
    timings = {"update_s": 1.0, "learner_wait_s": 3.0}
    learned = {"policy_lag": 2.0, "policy_lag_mean": 1.5, **timings}
    result = TotalsTracker(TrainConfig(), TrainingTotals()).add([slow, fast, fast], learned)
    assert describe_lag(result) == "lag 1.5 (max 2) · busy: learner 25%, collectors 56%"
    assert describe_lag(result, 1_024).startswith("lag 1.5 (max 2) · 1,024 rows dropped · busy: ")
