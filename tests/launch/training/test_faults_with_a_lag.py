"""Faults in asynchronous runs, with light workers on a real Ray: what is waited for, and what is counted as lost."""

from __future__ import annotations

import time
from typing import Any

import pytest
import ray
from driver_runs import kill
from light_workers import STEPS, Notes, light_driver

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

FIXED: dict[str, Any] = {"max_policy_lag": 2}
ARRIVAL: dict[str, Any] = {"max_policy_lag": 2, "rollout_order": "arrival"}


def test_by_arrival_an_evaluation_that_takes_longer_than_the_timeout_costs_no_collector() -> None:
    notes = Notes()
    driver = light_driver(
        2,
        1_000,
        5,
        notes,
        evaluation_s=6.0,
        timeout_s=5.0,
        eval_every=3,
        eval_episodes=2,
        rollout_s=lambda index, _: 0.3,
        **ARRIVAL,
    )
    try:
        list(driver.updates())
    finally:
        driver.close()
    assert not notes.faults


def test_a_collector_that_is_behind_is_waited_for_when_another_one_dies() -> None:
    def then(update: int) -> None:
        if update == 2:
            kill(driver.handles[0].actor)

    notes = Notes(then)
    # Its three rollouts that are asked for take longer than the timeout, and each of them does not.
    driver = light_driver(2, 1_000, 6, notes, timeout_s=5.0, rollout_s=lambda index, _: 2.0 * index, **FIXED)
    try:
        list(driver.updates())
    finally:
        driver.close()
    assert [fault.what for fault in notes.faults] == ["collector 0 (env slot 0)"]
    assert sorted(set(notes.learned)) == sorted(notes.learned), "nothing is counted twice"


def test_a_collector_that_hangs_while_another_one_dies_is_replaced_as_well() -> None:
    def then(update: int) -> None:
        if update == 2:
            kill(driver.handles[0].actor)
            # A function of this module could not be found there.
            driver.handles[1].actor.__ray_call__.remote(lambda _: time.sleep(1_000))
        # One replacement collects alone until the other is up.
        if {report.generation for result in notes.results for report in result.reports} >= {0, 1, 2}:
            driver.stop()

    notes = Notes(then)
    driver = light_driver(2, 1_000, 1_000, notes, timeout_s=5.0, rollout_s=lambda index, _: 0.2, **FIXED)
    try:
        list(driver.updates())
    finally:
        driver.close()
    assert sorted(fault.what for fault in notes.faults) == ["collector 0 (env slot 0)", "collector 1 (env slot 1)"]
    assert len(notes.results) < 1_000
    assert sorted(set(notes.learned)) == sorted(notes.learned)


@pytest.mark.parametrize("settings", [FIXED, ARRIVAL])
def test_all_that_was_under_way_when_the_learner_died_is_counted_as_lost(settings: dict[str, Any]) -> None:
    def then(update: int) -> None:
        if update == 3 and not killed:
            killed.append(update)
            kill(driver.learners.actors[0])

    killed: list[int] = []
    notes = Notes(then)
    driver = light_driver(3, 1_000, 6, notes, update_s=0.3, rollout_s=lambda index, _: 0.1, **settings)
    try:
        list(driver.updates())
    finally:
        driver.close()
    (fault,) = notes.faults
    assert fault.what == "learner"
    # Without a checkpoint the new learner begins again. It never sees what was collected before.
    first = {index: min(number for one, _, number in notes.learned if one == index) for index in range(3)}
    assert fault.env_steps_lost == STEPS * sum(first.values())
    assert sorted(set(notes.learned)) == sorted(notes.learned)


def environments_told(notes: Notes) -> list[tuple[int, int]]:
    """Returns collector and rollout of each environment that is said to have failed, in their order."""
    told = [(fault.what, fault.reason) for fault in notes.faults if fault.what.startswith("env slot")]
    return sorted((int(what.split()[-1]), int(reason.split()[-1])) for what, reason in told)


def test_environments_that_fail_in_rollouts_that_are_dropped_are_told() -> None:
    notes = Notes()
    settings = {"max_policy_lag": 1, "rollout_order": "arrival", "on_stale": "drop"}
    driver = light_driver(
        3, 1_000, 12, notes, env_fails=True, rollout_s=lambda index, _: 0.02 if index else 0.4, **settings
    )
    try:
        list(driver.updates())
    finally:
        driver.close()
    num_dropped = sum(result.metrics["rows_dropped"] for result in notes.results)
    assert num_dropped > 0
    told = environments_told(notes)
    assert len(told) == len(set(told)) == len(notes.learned) + num_dropped
    assert set(told) > {(index, number) for index, _, number in notes.learned}


@pytest.mark.parametrize("settings", [FIXED, ARRIVAL])
def test_environments_that_fail_in_rollouts_that_are_lost_with_the_learner_are_told(settings: dict[str, Any]) -> None:
    def then(update: int) -> None:
        if update == 3 and not killed:
            killed.append(update)
            # At once: the updates that are queued in the learner are never made.
            ray.kill(driver.learners.actors[0])

    killed: list[int] = []
    notes = Notes(then)
    driver = light_driver(3, 1_000, 6, notes, update_s=0.3, rollout_s=lambda index, _: 0.1, env_fails=True, **settings)
    try:
        list(driver.updates())
    finally:
        driver.close()
    assert killed
    learned = {(index, number) for index, _, number in notes.learned}
    # A collector counts its rollouts on, so those that the new learner never saw have the lower numbers.
    lost = {(index, number) for index, last in learned for number in range(last)} - learned
    assert lost
    assert environments_told(notes) == sorted(learned | lost)


@pytest.mark.parametrize("settings", [{}, FIXED, ARRIVAL], ids=["lock step", "fixed", "arrival"])
def test_the_learners_time_begins_with_its_update_and_not_with_the_rollouts_before(settings: dict[str, Any]) -> None:
    notes = Notes()
    # Rollout and update take longer than the timeout together, and each of them does not.
    driver = light_driver(1, 1_000, 2, notes, timeout_s=5.0, update_s=3.0, rollout_s=lambda index, _: 3.5, **settings)
    try:
        driver.get(driver.pipeline.weights)  # The learner is up.
        list(driver.updates())
    finally:
        driver.close()
    assert not notes.faults
    assert [result.totals.updates for result in notes.results] == [1, 2]
