"""Training with a policy lag, on a real Ray: the same data whatever the timing, and faults that cost nothing more."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driver_runs import CONFIG, Recorder, Stop, assert_same_state, kill, numbers_of, run_until_stopped, trained

from distpolicy.networks.network_config import NetworkConfig
from launch.config.presets import load_preset
from launch.config.train import TrainConfig
from launch.training.totals import UpdateResult
from launch.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("local_ray")

RECURRENT = NetworkConfig(actor_units=(8,), recurrent="gru", recurrent_units=(6,))
UNEVEN = dataclasses.replace(CONFIG, env="uneven_env:UnevenCartPole", total_steps=1_000)


def versions_of(outcome: UpdateResult) -> list[int]:
    return [report.weights.version for report in outcome.reports if report.weights]


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0, 1, 2])
def test_the_bytes_do_not_depend_on_the_timing_or_on_the_number_of_collectors(lag: int) -> None:
    config = dataclasses.replace(UNEVEN, max_policy_lag=lag)
    even, outcomes = trained(config)
    uneven, _ = trained(dataclasses.replace(config, env_kwargs={"max_delay_s": 0.02}))
    alone, _ = trained(dataclasses.replace(config, collectors=1, envs_per_collector=8))
    assert_same_state(even, uneven)
    assert_same_state(even, alone)
    assert_same_state(even, trained(config, serial=True)[0])
    for number, outcome in enumerate(outcomes, 1):
        # Update u learns from rollouts by version u - 1 - lag, or by the first.
        assert versions_of(outcome) == [max(number - 1 - lag, 0)] * 2
        expected = number - 1 - max(number - 1 - lag, 0)
        assert outcome.metrics["policy_lag"] == expected
        # In lock step the mean and the histogram would say the same.
        told = {
            "policy_lag_mean": expected,
            **{f"lag_rows/{item}": 8.0 * (item == expected) for item in range(lag + 1)},
        }
        assert {name: outcome.metrics.get(name) for name in told} == (told if lag else dict.fromkeys(told))


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0, 1, 2])
def test_a_run_that_is_resumed_comes_to_the_same_bytes_whatever_the_timing_before_and_after(lag: int) -> None:
    config = dataclasses.replace(UNEVEN, max_policy_lag=lag)
    halves, ends = [], []
    for first_s, then_s in ((0.0, 0.01), (0.02, 0.0)):
        state, first = trained(dataclasses.replace(config, total_steps=500, env_kwargs={"max_delay_s": first_s}))
        totals = first[-1].totals
        halves.append(state)
        longer = dataclasses.replace(config, env_kwargs={"max_delay_s": then_s})
        end, outcomes = trained(longer, 1, state, totals)
        ends.append(end)
        assert versions_of(outcomes[0]) == [totals.updates, totals.updates]
        assert [outcome.metrics["policy_lag"] for outcome in outcomes[:4]] == [min(turn, lag) for turn in range(4)]
    assert_same_state(*halves)
    assert_same_state(*ends)


@pytest.mark.slow
def test_an_evaluation_between_rollouts_of_older_versions_changes_nothing() -> None:
    config = dataclasses.replace(UNEVEN, max_policy_lag=2, total_steps=600)
    plain, _ = trained(config)
    evaluated, outcomes = trained(dataclasses.replace(config, eval_every=3, eval_episodes=2, eval_max_episode_steps=20))
    assert_same_state(plain, evaluated)
    assert [outcome.totals.updates for outcome in outcomes if "eval_return_mean" in outcome.metrics] == [3, 6, 9]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "network"), [("fixed", CONFIG.network), ("arrival", CONFIG.network), ("fixed", RECURRENT)]
)
def test_a_collector_that_is_killed_costs_no_other_rollout(order: str, network: NetworkConfig) -> None:
    def then(driver: Trainer, recorder: Recorder) -> None:
        # The second one is killed when the first is back.
        if len(recorder.outcomes) >= 4 and len(killed) == len(recorder.recoveries) < 2:
            killed.append(driver.handles[len(killed)].actor)
            kill(killed[-1])
        if len(recorder.recoveries) == 2 and {report.generation for report in recorder.outcomes[-1].reports} == {1, 2}:
            raise Stop

    killed: list[Any] = []
    config = dataclasses.replace(UNEVEN, max_policy_lag=2, rollout_order=order, total_steps=100_000, network=network)
    recorder = run_until_stopped(config, then)
    assert [outcome.totals.updates for outcome in recorder.outcomes] == list(range(1, len(recorder.outcomes) + 1))
    for outcome in recorder.outcomes:
        assert len(outcome.reports) == CONFIG.collectors
        assert outcome.metrics["policy_lag"] <= 2
    for numbers in numbers_of(recorder.reports).values():
        assert sorted(numbers) == list(range(len(numbers))), "nothing is lost or counted twice"
    steps = np.cumsum([sum(report.num_env_steps for report in outcome.reports) for outcome in recorder.outcomes])
    assert [outcome.totals.env_steps for outcome in recorder.outcomes] == steps.tolist()
    assert len(recorder.losses) == 2


@pytest.mark.slow
@pytest.mark.parametrize("order", ["fixed", "arrival"])
def test_a_learner_that_is_killed_goes_on_from_its_checkpoint_and_old_rollouts_are_lost(order: str) -> None:
    def then(driver: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 7:
            kill(driver.learners.actors[0])
        if recorder.returns_to and recorder.outcomes[-1].totals.updates == 12:
            raise Stop

    config = dataclasses.replace(UNEVEN, max_policy_lag=2, rollout_order=order, total_steps=100_000, checkpoint_every=3)
    recorder = run_until_stopped(config, then)
    back_to = recorder.returns_to[0].updates
    updates = [outcome.totals.updates for outcome in recorder.outcomes]
    # It may have made the same update before it died.
    first_after = len(updates) - 1 - updates[::-1].index(back_to + 1)
    assert updates[first_after:] == list(range(back_to + 1, 13))
    for outcome in recorder.outcomes[first_after:]:
        versions = [(report.weights.generation, report.weights.version) for report in outcome.reports if report.weights]
        assert min(versions) >= (1, back_to), "no rollout by the weights of the learner that died"
        assert outcome.metrics["policy_lag"] <= 2
    assert len(recorder.losses) == 1


@pytest.mark.slow
@pytest.mark.parametrize("on_stale", ["wait", "drop"])
def test_by_arrival_a_slow_collector_brings_less_and_no_row_is_older_than_the_lag(
    on_stale: str, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        UNEVEN,
        env="uneven_env:SlowFirstCartPole",
        env_kwargs={"flag": str(tmp_path / "flag"), "delay_s": 0.02},
        max_policy_lag=1,
        rollout_order="arrival",
        on_stale=on_stale,
        total_steps=3_000,
    )
    _, outcomes = trained(config)
    num_rollouts = np.bincount([report.collector for outcome in outcomes for report in outcome.reports], minlength=2)
    assert num_rollouts.max() > 1.5 * num_rollouts.min()
    assert max(outcome.metrics["policy_lag"] for outcome in outcomes) == 1
    for number, outcome in enumerate(outcomes):
        assert all(number - 1 <= version <= number for version in versions_of(outcome))
    dropped = sum(outcome.metrics["rows_dropped"] for outcome in outcomes)
    assert dropped == 0 if on_stale == "wait" else dropped > 0


@pytest.mark.slow
def test_by_arrival_with_dropped_rollouts_a_run_that_is_resumed_goes_on_in_order(tmp_path: Path) -> None:
    config = dataclasses.replace(
        UNEVEN,
        env="uneven_env:SlowFirstCartPole",
        max_policy_lag=1,
        rollout_order="arrival",
        on_stale="drop",
        total_steps=1_500,
    )

    def slow(number: int) -> TrainConfig:
        return dataclasses.replace(config, env_kwargs={"flag": str(tmp_path / f"flag{number}"), "delay_s": 0.02})

    state, first = trained(slow(0))
    totals = first[-1].totals
    _, outcomes = trained(dataclasses.replace(slow(1), total_steps=3_000), 1, state, totals)
    updates = [outcome.totals.updates for outcome in outcomes]
    assert updates == list(range(totals.updates + 1, totals.updates + 1 + len(updates)))
    for number, outcome in zip(updates, outcomes, strict=True):
        assert all(max(number - 2, totals.updates) <= version <= number - 1 for version in versions_of(outcome))
        assert outcome.metrics["policy_lag"] <= 1
    for numbers in numbers_of([report for outcome in outcomes for report in outcome.reports]).values():
        assert sorted(set(numbers)) == sorted(numbers)
    assert sum(outcome.metrics["rows_dropped"] for outcome in outcomes) > 0


@pytest.mark.slow
def test_several_learners_by_arrival_learn_from_no_row_that_is_too_old() -> None:
    config = dataclasses.replace(
        UNEVEN, learners=2, max_policy_lag=1, rollout_order="arrival", env_kwargs={"max_delay_s": 0.02}, total_steps=500
    )
    _, outcomes = trained(config)
    for number, outcome in enumerate(outcomes):
        assert all(number - 1 <= version <= number for version in versions_of(outcome))
        assert outcome.metrics["policy_lag"] == number - min(versions_of(outcome))


@pytest.mark.slow
def test_by_arrival_without_lag_every_row_is_by_the_newest_weights() -> None:
    _, outcomes = trained(dataclasses.replace(UNEVEN, rollout_order="arrival", env_kwargs={"max_delay_s": 0.01}))
    for number, outcome in enumerate(outcomes):
        assert versions_of(outcome) == [number, number]
    assert outcomes[-1].totals.env_steps >= UNEVEN.total_steps
    assert outcomes[-2].totals.env_steps < UNEVEN.total_steps


@pytest.mark.slow
def test_several_learners_with_a_lag_come_to_what_one_learner_does() -> None:
    config = dataclasses.replace(UNEVEN, max_policy_lag=1, env_kwargs={"max_delay_s": 0.01}, total_steps=500)
    alone, outcomes = trained(config)
    together, shared = trained(dataclasses.replace(config, learners=2))
    names = ("policy_lag", "policy_lag_mean", "lag_rows/0", "lag_rows/1")
    for one, other in zip(outcomes, shared, strict=True):
        assert [one.metrics[name] for name in names] == [other.metrics[name] for name in names]
    for path, value in alone.items():
        np.testing.assert_allclose(value, together[path], rtol=1e-2, atol=1e-3, err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["fixed", "arrival"])
@pytest.mark.parametrize("preset", ["cartpole-impala", "cartpole-appo"])
def test_agents_with_v_trace_learn_from_data_of_older_versions(preset: str, order: str) -> None:
    config = dataclasses.replace(
        load_preset(preset), max_policy_lag=2, rollout_order=order, total_steps=40_000, jit_compile=False, seed=3
    )
    _, outcomes = trained(config)
    lags = [outcome.metrics["policy_lag"] for outcome in outcomes]
    assert max(lags) <= 2
    assert max(lags) == 2 if order == "fixed" else max(lags) >= 1
    # Chance has about 20.
    first, last = (outcomes[place].metrics["return_mean_100"] for place in (2, -1))
    assert first < 40
    assert last > 60
