"""Collectors that die in every rollout, again and again; workers are light."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from light_workers import Watcher, light_driver, small_store

from distpolicy.errors import WorkerLostError
from launch.training.recovery import MAX_FAILURES
from workers.restart_budget import RestartBudgetConfig

BEARS = MAX_FAILURES + 2
AT_ONCE = RestartBudgetConfig(max_restarts=BEARS, window_steps=1, backoff_s=0.0)


@pytest.fixture(scope="module", autouse=True)
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with small_store(tmp_path_factory.mktemp("spilled")):
        yield


@pytest.mark.slow
def test_a_run_stands_as_many_losses_as_its_restart_budget_has_and_then_goes_on() -> None:
    watcher = Watcher()
    driver = light_driver(1, 1_000, 5, watcher, first_sound_generation=BEARS, restart_budget=AT_ONCE)
    *_, last = driver.updates()
    assert last.totals.updates == 5
    assert watcher.losses == ["collector 0 (env slot 0): its process was killed or has crashed"] * BEARS
    assert watcher.state is not None
    assert watcher.state["seen"].tolist() == [BEARS * 100_000 + number for number in range(5)]
    driver.close()


@pytest.mark.slow
def test_one_more_ends_it_with_the_name_of_the_collector() -> None:
    driver = light_driver(1, 1_000, 5, Watcher(), first_sound_generation=BEARS + 1, restart_budget=AT_ONCE)
    told = rf"collector 0 \(env slot 0\) was lost {BEARS + 1} times in a row; the last time: "
    told += "its process was killed or has crashed"
    with pytest.raises(WorkerLostError, match=f"^{told}$"):
        list(driver.updates())
    driver.close()
