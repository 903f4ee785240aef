"""What short runs with real Ray actors count, and the schedules that follow from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import ray
from driver_runs import CONFIG, Recorder, make_driver

from launch.config.train import TrainConfig
from launch.training.checkpoint_store import Checkpoint

# A reward of -1 for every step, and no end that comes sooner than the limit.
MOUNTAIN_CAR = "MountainCar-v0"
LEARNING_RATE = CONFIG.agent.learning_rate


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def limited_to(num_steps: int) -> tuple[str, ...]:
    return (f'gymnasium.wrappers.TimeLimit{{"max_episode_steps": {num_steps}}}',)


def trained(config: TrainConfig, after: Checkpoint | None = None) -> Recorder:
    """A whole run, or one that goes on after another."""
    recorder = Recorder()
    before = () if after is None else (1, after.state, after.totals)
    driver = make_driver(config, *before, recorder=recorder)
    try:
        list(driver.updates())
    finally:
        driver.close()
    return recorder


def saved(recorder: Recorder) -> Checkpoint:
    assert recorder.saved is not None
    return recorder.saved


@pytest.mark.slow
def test_a_linear_schedule_over_ten_batches_begins_in_full_and_ends_with_a_tenth() -> None:
    """No episode ends in these steps, so that every batch is a tenth of the run."""
    config = dataclasses.replace(CONFIG, env=MOUNTAIN_CAR, total_steps=10 * CONFIG.batch_size)
    shares = [outcome.metrics["learning_rate"] / LEARNING_RATE for outcome in trained(config).outcomes]
    np.testing.assert_allclose(shares, np.arange(10, 0, -1) / 10, rtol=1e-5)


@pytest.mark.parametrize(
    ("limit", "env_steps", "ended_in"),
    [
        # The last step before the resume ends all episodes; the next one would only have reset.
        pytest.param(8, [64, 128, 184], [8, 8, 0], marks=pytest.mark.slow),
        # They would end with the first step after it: what was running is dropped, and counts for nothing.
        pytest.param(9, [64, 128, 184], [0, 0, 8], marks=pytest.mark.slow),
    ],
)
def test_episodes_that_end_right_at_a_resume_are_counted_once_and_whole(
    limit: int, env_steps: list[int], ended_in: list[int]
) -> None:
    config = dataclasses.replace(CONFIG, env=MOUNTAIN_CAR, wrappers=limited_to(limit))
    assert (config.batch_size, config.rollout_steps) == (64, 8)
    first = trained(dataclasses.replace(config, total_steps=64))
    second = trained(dataclasses.replace(config, total_steps=184), after=saved(first))
    outcomes = [*first.outcomes, *second.outcomes]
    assert [outcome.totals.updates for outcome in outcomes] == [1, 2, 3]
    assert [outcome.totals.env_steps for outcome in outcomes] == env_steps
    assert [outcome.totals.episodes for outcome in outcomes] == np.cumsum(ended_in).tolist()
    assert [outcome.metrics["episodes"] for outcome in outcomes] == np.cumsum(ended_in).tolist()
    # The schedule goes on, too: by the share of the run before each update.
    shares = [outcome.metrics["learning_rate"] / LEARNING_RATE for outcome in outcomes]
    np.testing.assert_allclose(shares, [1.0, 1 - 64 / 184, 1 - 128 / 184], rtol=1e-5)
    for outcome, count, total in zip(outcomes, ended_in, np.cumsum(ended_in), strict=True):
        assert outcome.totals.recent_returns == (-float(limit),) * total
        ended = [(outcome.metrics.get("episode_return"), outcome.metrics.get("episode_length"))]
        assert ended == [(-limit, limit) if count else (None, None)]
        assert outcome.metrics.get("return_mean_100") == (-limit if total else None)


@pytest.mark.release
@pytest.mark.slow
def test_a_run_with_a_target_ends_with_the_same_bytes_whatever_the_spread() -> None:
    """The target is the highest mean of 100 episodes, so that it is reached by the right 100 only."""
    two = dataclasses.replace(CONFIG, total_steps=4_000)
    one = dataclasses.replace(two, collectors=1, envs_per_collector=8)
    means = [outcome.metrics["return_mean_100"] for outcome in trained(two).outcomes if outcome.totals.episodes >= 100]
    runs = [trained(dataclasses.replace(config, target_return=max(means))) for config in (two, one)]
    returns = [[outcome.totals.recent_returns for outcome in run.outcomes] for run in runs]
    assert returns[0] == returns[1]
    states = [saved(run).state for run in runs]
    assert saved(runs[0]).totals.solved
    assert states[0] is not None
    assert states[1] is not None
    assert states[0].keys() == states[1].keys()
    for path, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][path], err_msg=path)
