"""Which weights act in which rollouts, and which update learns from them, with light workers in this process."""

from __future__ import annotations

from typing import Any

import pytest
from light_workers import Notes, light_driver

NUM_COLLECTORS, NUM_UPDATES = 3, 8


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
