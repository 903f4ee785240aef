"""Rollouts that do not fit into Ray's object store, and what a run keeps in it, with real actors that are light."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from light_workers import STORE_BYTES, Watcher, light_driver, small_store, store

MIB = 2**20


@pytest.fixture(scope="module", autouse=True)
def spilling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with small_store(tmp_path_factory.mktemp("spilled")):
        yield


def check_learned_from_all_once(watcher: Watcher, num_collectors: int, num_updates: int) -> None:
    """Every rollout of every collector was learned from, once, and was whole."""
    assert watcher.state is not None
    expected = [index * 1_000_000 + number for number in range(num_updates) for index in range(num_collectors)]
    assert watcher.state["seen"].tolist() == expected
    assert not watcher.losses


# Of the iterations in flight and the one that has just ended: two rollouts each, and the weights.
MAX_OBJECTS, MAX_MIB = 3 * 3, 3 * (2 * 1_000_000 + 500_000) / MIB


@pytest.mark.slow
def test_what_a_run_keeps_in_the_object_store_does_not_grow_with_its_updates() -> None:
    watcher = Watcher(
        looks=(5, 50, 95), expected=lambda now: now.num_objects <= MAX_OBJECTS and now.memory_mib <= MAX_MIB
    )
    driver = light_driver(2, rollout_bytes=1_000_000, num_updates=100, watcher=watcher, weights_bytes=500_000)
    list(driver.updates())
    driver.close()
    check_learned_from_all_once(watcher, 2, 100)
    early, *later = watcher.stores
    assert 0 < early.num_objects <= MAX_OBJECTS
    assert early.memory_mib <= MAX_MIB
    for late in later:
        assert late.num_objects <= early.num_objects + 3
        assert late.memory_mib <= early.memory_mib + 2_500_000 / MIB


@pytest.mark.slow
def test_rollouts_that_fill_the_object_store_are_spilled_and_arrive_whole() -> None:
    watcher = Watcher(expected=lambda now: now.memory_mib * MIB <= STORE_BYTES)
    driver = light_driver(num_collectors=3, rollout_bytes=50_000_000, num_updates=4, watcher=watcher)
    list(driver.updates())
    driver.close()
    check_learned_from_all_once(watcher, 3, 4)
    assert store().spilled_mib > 50
    assert max(item.memory_mib for item in watcher.stores) * MIB <= STORE_BYTES
