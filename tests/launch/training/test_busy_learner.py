"""An interrupt while the learner is busy; workers are light."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from light_workers import Watcher, light_driver, small_store

from launch.training import trainer


@pytest.fixture(scope="module", autouse=True)
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with small_store(tmp_path_factory.mktemp("spilled")):
        yield


@pytest.mark.slow
def test_an_interrupt_waits_for_the_update_under_way_and_saves_what_it_has_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The updates under way take longer than this: the run has to know how long an update takes.
    monkeypatch.setattr(trainer, "GRACE_S", 1.0)
    watcher = Watcher()
    driver = light_driver(1, 1_000, num_updates=1_000, watcher=watcher, update_s=1.5)
    first = next(iter(driver.updates()))
    assert first.totals.updates == 1
    newest = driver.interrupt()
    driver.close()
    assert newest is not None
    assert newest.updates >= 2
    assert watcher.state is not None
    assert watcher.state["learner/version"] == newest.updates
    assert watcher.state["seen"].tolist() == list(range(newest.updates))
