"""What a run that learns from a dataset does when its workers are killed; one Ray for the module."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from driver_runs import CONFIG, Recorder, assert_same_state, kill, make_driver, trained
from scripted_datasets import cartpole_random, write

from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from launch.config.train import TrainConfig

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

NUM_UPDATES = 12


def config_for(folder: Path, eval_episodes: int) -> TrainConfig:
    dataset = write(folder, "CartPole-v1", cartpole_random, num_steps=60)
    agent = BehavioralCloningConfig(batch_size=32, updates_per_call=10)
    return dataclasses.replace(
        CONFIG,
        dataset=(dataset,),
        agent=agent,
        total_steps=NUM_UPDATES * agent.updates_per_call,
        checkpoint_every=3,
        eval_episodes=eval_episodes,
        eval_every=2 if eval_episodes else None,
    )


def test_a_learner_that_is_killed_is_replaced_and_learns_the_same_bytes(tmp_path: Path) -> None:
    config = config_for(tmp_path / "data", eval_episodes=0)
    expected, _ = trained(config)

    def then(recorder: Recorder) -> None:
        if len(recorder.outcomes) == 5:
            kill(driver.learners.actors[0])

    recorder = Recorder(then)
    driver = make_driver(config, recorder=recorder)
    try:
        assert driver.handles == []
        list(driver.updates())
    finally:
        driver.close()
    assert [fault.what for fault in recorder.losses] == ["learner"]
    assert recorder.losses[0].env_steps_lost == 0
    back = recorder.returns_to[0]
    # The checkpoint of update 6 may have been on its way.
    assert back.updates in (3, 6)
    assert back.gradient_steps == 10 * back.updates
    assert recorder.saved is not None
    assert recorder.saved.totals.gradient_steps == NUM_UPDATES * 10
    assert recorder.saved.state is not None
    assert_same_state(recorder.saved.state, expected)


def test_a_collector_that_is_killed_plays_its_evaluation_again(tmp_path: Path) -> None:
    def then(recorder: Recorder) -> None:
        if len(recorder.outcomes) == 3:
            kill(driver.handles[0].actor)

    recorder = Recorder(then)
    driver = make_driver(config_for(tmp_path / "data", eval_episodes=4), recorder=recorder)
    try:
        list(driver.updates())
        (result,) = driver.evaluate(4)
    finally:
        driver.close()
    assert [fault.what.partition(" (")[0] for fault in recorder.losses] == ["collector 0"]
    assert len(result.returns) == 4
    evaluated = [outcome.totals.updates for outcome in recorder.outcomes if "eval_return_mean" in outcome.metrics]
    assert evaluated == list(range(2, NUM_UPDATES + 1, 2))
