"""What a run does when its workers are killed; one Ray for the module."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import ray
from driver_runs import CONFIG, Recorder, Stop, kill, make_driver, numbers_of, run_until_stopped

from launch.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("local_ray")

LONG = dataclasses.replace(CONFIG, total_steps=100_000_000)


def assert_accounts_are_exact(recorder: Recorder) -> None:
    """Every rollout counts once, in its place, and each update has as many as there are to be collectors."""
    for outcome in recorder.outcomes:
        assert len(outcome.reports) == CONFIG.collectors
        assert outcome.metrics["policy_lag"] == 0.0
        versions = {(report.weights.generation, report.weights.version) for report in outcome.reports if report.weights}
        assert {version for _, version in versions} == {outcome.totals.updates - 1}
    # Of no actor a rollout is missing between others, so none that was whole has been thrown away.
    for numbers in numbers_of(recorder.reports).values():
        assert numbers == list(range(len(numbers)))
    steps = np.cumsum([sum(report.num_env_steps for report in outcome.reports) for outcome in recorder.outcomes])
    assert [outcome.totals.env_steps for outcome in recorder.outcomes] == steps.tolist()


@pytest.mark.slow
def test_a_collector_that_is_killed_is_replaced_while_the_other_goes_on() -> None:
    def then(driver: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 3:
            kill(driver.handles[1].actor)
        if any(report.generation > 0 for report in recorder.outcomes[-1].reports):
            raise Stop

    recorder = run_until_stopped(LONG, then)
    assert_accounts_are_exact(recorder)
    collectors = [tuple(report.collector for report in outcome.reports) for outcome in recorder.outcomes]
    assert (0, 0) in collectors, "the other collector took over"
    assert collectors[-1] == (0, 1)
    (fault,) = recorder.losses
    assert fault.what == "collector 1 (env slots 4 to 7)"
    assert fault.env_steps_lost in (0, CONFIG.envs_per_collector * CONFIG.rollout_steps)
    assert [(item.what, item.reason) for item in recorder.recoveries] == [(fault.what, fault.reason)]
    assert recorder.recoveries[0].recovery_s is not None
    # It came up beside the training: its first weights are far from the first ones.
    newest = next(report for report in recorder.reports if report.generation > 0)
    assert newest.weights is not None
    assert newest.weights.version > 3


@pytest.mark.slow
def test_all_collectors_may_be_killed_at_once() -> None:
    def then(driver: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 2:
            for handle in driver.handles:
                kill(handle.actor)
        if {report.generation for report in recorder.outcomes[-1].reports} == {1, 2}:
            raise Stop

    generations: set[int] = set()
    recorder = run_until_stopped(
        LONG, then, lambda driver: generations.update(handle.generation for handle in driver.handles)
    )
    assert generations == {1, 2}
    assert_accounts_are_exact(recorder)
    assert len(recorder.losses) == 2


@pytest.mark.release
@pytest.mark.slow
def test_a_learner_that_is_killed_goes_on_from_the_newest_checkpoint() -> None:
    def then(driver: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 7:
            kill(driver.learners.actors[0])
        if recorder.returns_to and recorder.outcomes[-1].totals.updates == 9:
            raise Stop

    generations: list[int] = []
    recorder = run_until_stopped(
        dataclasses.replace(LONG, checkpoint_every=3),
        then,
        lambda driver: generations.append(driver.get(driver.pipeline.weights).generation),
    )
    updates = [outcome.totals.updates for outcome in recorder.outcomes]
    killed = updates.index(6, updates.index(7)) if 6 in updates[7:] else 7
    assert recorder.returns_to[0].updates in (3, 6)
    back_to = recorder.returns_to[0].updates
    first_after = updates.index(back_to + 1, killed)
    assert updates[first_after:] == list(range(back_to + 1, 10)), "it goes on where the checkpoint is"
    assert generations == [1]
    assert all(outcome.metrics["policy_lag"] == 0.0 for outcome in recorder.outcomes)
    after = recorder.outcomes[first_after]
    assert after.totals.env_steps == recorder.returns_to[0].env_steps + sum(
        report.num_env_steps for report in after.reports
    )
    assert {(report.weights.generation, report.weights.version) for report in after.reports if report.weights} == {
        (1, back_to)
    }
    assert {report.generation for report in after.reports} == {0}, "the collectors are the same"
    (fault,) = recorder.recoveries
    assert fault.what == "learner"
    before = recorder.outcomes[first_after - 1].totals.env_steps
    in_flight = fault.env_steps_lost - (before - recorder.returns_to[0].env_steps)
    assert in_flight in range(0, 2 * CONFIG.batch_size + 1, CONFIG.envs_per_collector * CONFIG.rollout_steps)


@pytest.mark.release
@pytest.mark.slow
def test_a_learner_that_is_killed_before_the_first_checkpoint_begins_again() -> None:
    def then(driver: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 2:
            kill(driver.learners.actors[0])
        if recorder.returns_to:
            raise Stop

    recorder = run_until_stopped(LONG, then)
    assert recorder.returns_to[0].updates == 0
    assert recorder.outcomes[-1].totals.updates == 1
    assert recorder.outcomes[-1].metrics["policy_lag"] == 0.0


@pytest.mark.release
@pytest.mark.slow
def test_collectors_join_when_there_is_room_for_them() -> None:
    @ray.remote(num_cpus=3)
    class Occupant:
        def ping(self) -> None: ...

    occupant = Occupant.remote()
    ray.get(occupant.ping.remote(), timeout=120)

    def then(driver: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 3:
            ray.kill(occupant)
        if {report.collector for report in recorder.outcomes[-1].reports} == {0, 1}:
            raise Stop

    recorder = run_until_stopped(dataclasses.replace(LONG, min_collectors=1), then)
    assert_accounts_are_exact(recorder)
    assert len({report.collector for report in recorder.outcomes[0].reports}) == 1
    assert not recorder.losses


@pytest.mark.release
@pytest.mark.slow
def test_evaluation_goes_on_without_a_worker_that_is_killed() -> None:
    config = dataclasses.replace(CONFIG, total_steps=64)
    recorder = Recorder()
    driver = make_driver(config, recorder=recorder)
    try:
        list(driver.updates())
        expected = driver.evaluate(6)
        kill(driver.handles[0].actor)
        time.sleep(0.5)
        assert driver.evaluate(6) == expected
        kill(driver.learners.actors[0])
        time.sleep(0.5)
        # The learner's weights may be lost with it; a new one goes on from the last checkpoint.
        assert driver.evaluate(6) == expected
    finally:
        driver.close()
