"""Which weights act in which rollouts, and which update learns from them, with light workers in this process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from light_workers import LightCollector, LightLearner, Notes, light_driver

from distpolicy.errors import InferenceLostError
from launch.supervision.local_actor import LocalActor
from launch.training import pipeline
from launch.training.pipeline import PIPELINE_DEPTH
from launch.training.policy_server import PolicyServer
from workers.collection.evaluator import EvaluationResult
from workers.collection.rollout_report import RolloutReport

NUM_COLLECTORS, NUM_UPDATES = 3, 8


class LightServer:
    """An inference server that can be lost, and gives collectors the weights themselves."""

    def __init__(self) -> None:
        self.is_lost = False

    def ping(self) -> None:
        """Fails once it is lost."""
        if self.is_lost:
            raise InferenceLostError("the server is lost")

    def apply(self, weights: np.ndarray) -> np.ndarray:
        """Returns the weights."""
        self.ping()
        return weights


@pytest.mark.parametrize("more", [{}, {"eval_every": 3, "eval_episodes": 2}], ids=["plain", "evaluated"])
@pytest.mark.parametrize("order", ["fixed", "arrival"])
@pytest.mark.parametrize("lag", [0, 1, 2])
def test_rollouts_act_by_weights_within_the_lag_and_each_is_learned_from_once(
    lag: int, order: str, more: dict[str, Any]
) -> None:
    notes = Notes()
    driver = light_driver(
        NUM_COLLECTORS, 1_000, NUM_UPDATES, notes, serial=True, max_policy_lag=lag, rollout_order=order, **more
    )
    list(driver.updates())
    found = [[report.weights.version for report in result.reports if report.weights] for result in notes.results]
    # By arrival as well: in one process every rollout comes at once, so as many are asked for as the lag allows.
    assert found == [[max(number - lag, 0)] * NUM_COLLECTORS for number in range(NUM_UPDATES)]
    numbers = sorted((index, number) for index, _, number in notes.learned)
    assert numbers == [(index, number) for index in range(NUM_COLLECTORS) for number in range(NUM_UPDATES)]
    evaluated = [result.totals.updates for result in notes.results if "eval_return_mean" in result.metrics]
    assert evaluated == ([3, 6] if more else [])


@pytest.mark.parametrize("order", ["fixed", "arrival"])
@pytest.mark.parametrize("lag", [0, 1, 2])
def test_what_is_under_way_stays_within_its_bound(lag: int, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    num_asked, under_way, updates = 0, [], []
    collect, learn = LightCollector.rollout, LightLearner.update

    def rollout(self: LightCollector, weights: np.ndarray) -> tuple[np.ndarray, RolloutReport]:
        nonlocal num_asked
        num_asked += 1
        under_way.append(num_asked - NUM_COLLECTORS * len(notes.results))
        return collect(self, weights)

    def update(self: LightLearner, *arguments: Any, **named: Any) -> tuple[np.ndarray, dict[str, float]]:
        # The one that is being submitted counts, too.
        updates.append(len(driver.pipeline.pending) + 1)
        return learn(self, *arguments, **named)

    monkeypatch.setattr(LightCollector, "rollout", rollout)
    monkeypatch.setattr(LightLearner, "update", update)
    notes = Notes()
    settings: dict[str, Any] = {"max_policy_lag": lag, "rollout_order": order}
    driver = light_driver(NUM_COLLECTORS, 1_000, NUM_UPDATES, notes, serial=True, **settings)
    list(driver.updates())
    assert len(notes.results) == NUM_UPDATES
    # In a fixed order, a collector's next rollouts wait in its mailbox for their weights.
    assert max(under_way) == NUM_COLLECTORS * (lag + (PIPELINE_DEPTH if order == "fixed" else 1))
    assert max(updates) <= PIPELINE_DEPTH + (lag if order == "fixed" else 0)
    # In one process rollouts come at once. By arrival they are in flight until the driver looks.
    most = 0 if order == "fixed" else NUM_COLLECTORS
    assert all(0 <= result.metrics["rollouts_in_flight"] <= most for result in notes.results)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("order", ["fixed", "arrival"])
@pytest.mark.parametrize("lag", [0, 1, 2])
def test_rollouts_in_flight_are_those_that_slow_collectors_have_not_brought_yet(lag: int, order: str) -> None:
    notes = Notes()
    settings: dict[str, Any] = {"max_policy_lag": lag, "rollout_order": order}
    driver = light_driver(2, 1_000, NUM_UPDATES, notes, rollout_s=lambda index, generation: 0.3, **settings)
    try:
        list(driver.updates())
    finally:
        driver.close()
    found = [result.metrics["rollouts_in_flight"] for result in notes.results]
    # In a fixed order all rollouts of the updates under way are missing. By arrival a collector has one at a time, and
    # without lag it is asked for the next one only after this.
    most = {"fixed": 2 * (lag + 1), "arrival": 2 if lag else 0}[order]
    assert max(found) == most if order == "fixed" else min(lag, 1) <= max(found) <= most
    assert found[-1] == 0.0


@pytest.mark.parametrize("order", ["fixed", "arrival"])
@pytest.mark.parametrize("lag", [0, 2])
def test_updates_under_way_count_if_the_server_is_lost_in_an_evaluation_between_them(
    lag: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[LightServer] = []

    def start() -> LocalActor:
        servers.append(LightServer())
        return LocalActor(servers[-1])

    play = LightCollector.evaluate

    def evaluate(self: LightCollector, *arguments: Any) -> EvaluationResult:
        servers[-1].ping()
        return play(self, *arguments)

    monkeypatch.setattr(LightCollector, "evaluate", evaluate)
    notes = Notes()
    server = PolicyServer(start, 10.0)
    settings: dict[str, Any] = {"max_policy_lag": lag, "rollout_order": order}
    driver = light_driver(2, 1_000, NUM_UPDATES, notes, serial=True, server=server, **settings)
    updates = driver.updates()
    next(updates)
    servers[0].is_lost = True
    (result,) = driver.evaluate(2)
    assert len(result.returns) == 2
    list(updates)
    assert len(servers) == 2
    assert [result.totals.updates for result in notes.results] == list(range(1, NUM_UPDATES + 1))
    assert notes.state is not None
    assert notes.state["learner/version"] == NUM_UPDATES
    assert len(set(notes.learned)) == len(notes.learned) == 2 * NUM_UPDATES


def test_by_arrival_a_collector_that_misses_an_answer_of_its_server_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missed: list[int] = []
    collect = LightCollector.rollout

    def rollout(self: LightCollector, weights: np.ndarray) -> tuple[np.ndarray, RolloutReport]:
        if self._index == 1 and self._number == 2 and not missed:
            missed.append(self._index)
            raise InferenceLostError("the inference server did not answer within 10 s (timeout_s)")
        return collect(self, weights)

    monkeypatch.setattr(LightCollector, "rollout", rollout)
    notes = Notes()
    server = PolicyServer(lambda: LocalActor(LightServer()), 10.0)
    settings: dict[str, Any] = {"max_policy_lag": 1, "rollout_order": "arrival"}
    list(light_driver(2, 1_000, NUM_UPDATES, notes, serial=True, server=server, **settings).updates())
    assert [fault.what for fault in notes.faults] == ["collector 1 (env slot 1)"]
    assert len(notes.results) == NUM_UPDATES
    assert len(set(notes.learned)) == len(notes.learned) == 2 * NUM_UPDATES


def test_what_was_due_by_the_clock_after_an_update_that_failed_is_due_after_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(monotonic=lambda: now[0]))
    every: dict[str, Any] = {"checkpoint_every": "10m", "eval_every": "10m", "eval_episodes": 2}
    driver = light_driver(1, 1_000, NUM_UPDATES, Notes(), serial=True, max_policy_lag=1, **every)
    now[0] = 601.0
    driver.pipeline.fill(driver.totals)
    lost = list(driver.pipeline.pending)
    due = [update.evaluation is not None and update.state is not None for update in lost]
    assert due == [True, False, False]
    driver.pipeline.give_up(len(lost))
    driver.pipeline.resubmit(driver.totals, driver.learners.weights(), lost, ())
    again = [update.evaluation is not None and update.state is not None for update in driver.pipeline.pending]
    assert again == [True, False, False]
