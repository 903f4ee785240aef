"""The collectors of a pool and who replaces them, with actors that do nothing; one Ray for the module."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from distpolicy.errors import ConfigError, WorkerLostError
from launch.supervision.actor_errors import is_death, reason_of_death
from launch.supervision.collector_handle import MAX_PENDING_CALLS
from launch.supervision.collector_pool import CollectorPool
from launch.supervision.faults import RunFault
from workers.constructor_errors import keeping_constructor_error
from workers.restart_budget import RestartBudgetConfig

QUICK = RestartBudgetConfig(max_restarts=3, window_steps=1, backoff_s=0.05, max_backoff_s=0.1)


def start_light(num_cpus: int, fails: str = "") -> Any:
    """An actor that stands for a collector."""

    class Light:  # In here, so that it travels as it is: workers cannot import this module.
        def __init__(self) -> None:
            if fails == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if fails:
                raise ConfigError(fails)

        def ping(self) -> int:
            return os.getpid()

        def doubled(self, value: int, wait_s: float = 0.0) -> int:
            time.sleep(wait_s)
            return 2 * value

        def die(self) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    return ray.remote(keeping_constructor_error(Light)).options(num_cpus=num_cpus).remote()


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


class Starts:
    """Starts actors, and keeps (index, generation) of each."""

    def __init__(self, fails: Callable[[int, int], str] = lambda index, generation: "") -> None:
        self.fails, self.seen = fails, []
        self.actors: list[Any] = []

    def __call__(self, index: int, generation: int) -> Any:
        self.seen.append((index, generation))
        self.actors.append(start_light(1, self.fails(index, generation)))
        return self.actors[-1]


@pytest.fixture
def pools() -> Iterator[list[CollectorPool]]:
    made: list[CollectorPool] = []
    yield made
    for pool in made:
        pool.close()


def make_pool(
    pools: list[CollectorPool], start: Starts, size: int = 2, minimum: int = 2, timeout_s: float = 120.0
) -> CollectorPool:
    generations = itertools.count(1)
    pool = CollectorPool(
        start,
        [range(4 * index, 4 * index + 4) for index in range(size)],
        lambda: next(generations),
        timeout_s,
        minimum,
        QUICK,
    )
    pools.append(pool)
    pool.start(0)
    return pool


def lose(pool: CollectorPool, index: int, reason: str = "killed") -> RunFault | None:
    return pool.lose(next(handle for handle in pool.handles if handle.index == index), reason, 32)


def wait_for(pool: CollectorPool, number: int) -> list[RunFault]:
    back: list[RunFault] = []
    while len(pool.handles) < number:
        back += pool.admit()
        time.sleep(0.01)
    return back


def test_a_pool_begins_with_a_collector_for_every_index(pools: list[CollectorPool]) -> None:
    start = Starts()
    pool = make_pool(pools, start)
    assert pool.begin() == []
    assert [(handle.index, handle.generation) for handle in pool.handles] == [(0, 0), (1, 0)]
    assert pool.admit() == []
    assert start.seen == [(0, 0), (1, 0)]


def test_a_lost_collector_is_replaced_with_a_generation_of_its_own(pools: list[CollectorPool]) -> None:
    start = Starts()
    pool = make_pool(pools, start)
    pool.begin()
    fault = lose(pool, 1)
    assert fault is not None
    assert (fault.what, fault.reason, fault.env_steps_lost) == ("collector 1 (env slots 4 to 7)", "killed", 32)
    assert [handle.index for handle in pool.handles] == [0]
    assert pool.open_faults == [fault]
    (back,) = wait_for(pool, 2)
    assert (back.what, back.reason, back.noticed) == (fault.what, fault.reason, fault.noticed)
    assert back.recovery_s is not None
    assert back.recovery_s > 0.0
    assert not pool.open_faults
    lose(pool, 0)
    wait_for(pool, 2)
    assert start.seen == [(0, 0), (1, 0), (1, 1), (0, 2)]


def test_a_collector_is_lost_once(pools: list[CollectorPool]) -> None:
    pool = make_pool(pools, Starts())
    pool.begin()
    handle = pool.handles[0]
    assert pool.lose(handle, "killed", 0) is not None
    assert pool.lose(handle, "killed", 0) is None


@pytest.mark.slow
def test_losses_in_a_row_end_it_and_a_rollout_in_between_forgives_them(pools: list[CollectorPool]) -> None:
    pool = make_pool(pools, Starts(), size=1, minimum=1)
    pool.begin()
    for _ in range(2 * QUICK.max_restarts):
        lose(pool, 0)
        pool.wait_for_one()
        pool.delivered(pool.handles[0])
    for _ in range(QUICK.max_restarts):
        lose(pool, 0)
        pool.wait_for_one()
    with pytest.raises(
        WorkerLostError, match=r"collector 0 \(env slots 0 to 3\) was lost 4 times in a row; .*: out of memory"
    ):
        lose(pool, 0, "out of memory")


def test_one_that_is_killed_as_it_starts_is_replaced(pools: list[CollectorPool]) -> None:
    start = Starts(lambda index, generation: "dies" if (index, generation) == (1, 0) else "")
    pool = make_pool(pools, start)
    (fault,) = pool.begin()
    assert fault.what == "collector 1 (env slots 4 to 7)"
    assert fault.reason == "its process was killed or has crashed"
    assert {(handle.index, handle.generation) for handle in pool.handles} == {(0, 0), (1, 1)}


def test_what_the_first_constructor_raises_is_raised(pools: list[CollectorPool]) -> None:
    pool = make_pool(pools, Starts(lambda index, generation: "no such env"))
    with pytest.raises(ConfigError, match="no such env"):
        pool.begin()


def test_what_a_later_constructor_raises_counts_as_a_loss(pools: list[CollectorPool]) -> None:
    pool = make_pool(pools, Starts(lambda index, generation: "bad node" if generation == 1 else ""))
    pool.begin()
    for handle in pool.handles:
        pool.delivered(handle)
    lose(pool, 0)
    (fault,) = wait_for(pool, 2)
    assert fault.reason == "killed"
    assert [handle.generation for handle in pool.handles] == [2, 0]


def test_collectors_join_when_there_is_room_for_them(pools: list[CollectorPool]) -> None:
    occupant = start_light(2)
    ray.get(occupant.ping.remote(), timeout=120)
    pool = make_pool(pools, Starts(), size=3, minimum=1)
    pool.begin()
    assert len(pool.handles) == 1
    pool.admit()
    assert len(pool.handles) == 1
    ray.kill(occupant)
    assert wait_for(pool, 3) == []
    assert [handle.index for handle in pool.handles] == [0, 1, 2]


def test_a_pool_that_finds_no_room_says_so(pools: list[CollectorPool]) -> None:
    start = Starts()
    pool = make_pool(pools, start, size=4, minimum=4, timeout_s=4.0)
    # Those that there is room for are up before the time begins, however long that takes.
    ray.wait([actor.ping.remote() for actor in start.actors], num_returns=3, timeout=120)
    with pytest.raises(WorkerLostError, match=r"3 of 4 collectors came up in 4 s: .*distpolicy doctor"):
        pool.begin()


def test_close_may_be_called_twice(pools: list[CollectorPool]) -> None:
    pool = make_pool(pools, Starts())
    pool.close()
    pool.close()
    assert not pool.handles
    assert pool.admit() == []


def test_answers_come_in_the_order_of_each_collector_from_whoever_has_one(pools: list[CollectorPool]) -> None:
    pool = make_pool(pools, Starts())
    pool.begin()
    first, second = pool.handles
    assert pool.ready(0.01) == []
    first.call("doubled", 1, 5.0)
    for value in range(MAX_PENDING_CALLS):
        second.call("doubled", value)
    for value in range(MAX_PENDING_CALLS):
        assert second.num_pending == MAX_PENDING_CALLS - value
        assert pool.ready(60.0) == [second]
        assert second.take_answer(60.0) == 2 * value
    assert second.waiting_s == 0.0
    assert first.waiting_s > 0.0
    assert pool.ready(60.0) == [first]
    assert first.take_answer(60.0) == 2


def test_calls_in_flight_are_bounded(pools: list[CollectorPool]) -> None:
    pool = make_pool(pools, Starts(), size=1, minimum=1)
    pool.begin()
    (handle,) = pool.handles
    for _ in range(MAX_PENDING_CALLS):
        handle.call("doubled", 1)
    with pytest.raises(RuntimeError, match=r"collector 0 \(env slots 0 to 3\) has 2 calls pending"):
        handle.call("doubled", 1)
    handle.take_answer(60.0)
    handle.call("doubled", 1)


@pytest.mark.slow
def test_a_call_to_a_collector_that_dies_is_answered_by_that(pools: list[CollectorPool]) -> None:
    pool = make_pool(pools, Starts())
    pool.begin()
    handle = pool.handles[0]
    handle.call("die")
    assert pool.ready(60.0) == [handle]
    with pytest.raises(WorkerLostError) as error:
        handle.take_answer(60.0)
    assert is_death(error.value)
    assert reason_of_death(error.value) == "its process was killed or has crashed"
    assert pool.lose(handle, reason_of_death(error.value), 0) is not None
    while len(pool.handles) < 2:
        # It comes back when the one that is up has nothing to answer.
        assert pool.ready(60.0) == []
        pool.admit()


def test_collectors_that_are_retired_are_not_replaced(pools: list[CollectorPool]) -> None:
    start = Starts()
    pool = make_pool(pools, start)
    pool.begin()
    first, second = pool.handles
    pool.retire(first)
    assert pool.handles == [second]
    assert pool.admit() == []
    assert not pool.is_retired
    pool.retire(second)
    assert pool.is_retired
    assert start.seen == [(0, 0), (1, 0)]


def test_a_budget_with_a_window_of_steps_names_it(pools: list[CollectorPool]) -> None:
    pool = CollectorPool(
        Starts(), [range(1)], itertools.count(1).__next__, 120.0, restart_budget=RestartBudgetConfig(0, 10_000)
    )
    pools.append(pool)
    pool.start(0)
    pool.begin()
    told = r"^collector 0 \(env slot 0\) was lost 1 times within 10,000 steps; the last time: killed$"
    with pytest.raises(WorkerLostError, match=told):
        lose(pool, 0)
