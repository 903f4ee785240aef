"""The seats of collectors and who fills them, with actors that do nothing; one Ray for the module."""

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
from launch.collector_crew import CollectorCrew
from launch.run_fault import RunFault
from workers.fault_log import RebuildConfig

QUICK = RebuildConfig(max_rebuilds=3, window_steps=1, backoff_s=0.05, max_backoff_s=0.1)


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

    return ray.remote(Light).options(num_cpus=num_cpus).remote()


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


class Starts:
    """Starts actors, and keeps (seat, epoch) of each."""

    def __init__(self, fails: Callable[[int, int], str] = lambda index, epoch: "") -> None:
        self.fails, self.seen = fails, []

    def __call__(self, index: int, epoch: int) -> Any:
        self.seen.append((index, epoch))
        return start_light(1, self.fails(index, epoch))


@pytest.fixture
def crews() -> Iterator[list[CollectorCrew]]:
    made: list[CollectorCrew] = []
    yield made
    for crew in made:
        crew.close()


def make_crew(
    crews: list[CollectorCrew], start: Starts, size: int = 2, minimum: int = 2, timeout_s: float = 120.0
) -> CollectorCrew:
    epochs = itertools.count(1)
    crew = CollectorCrew(
        start, size, minimum, lambda index: f"collector {index}", lambda: next(epochs), timeout_s, replacements=QUICK
    )
    crews.append(crew)
    crew.start(0)
    return crew


def lose(crew: CollectorCrew, index: int, reason: str = "killed") -> RunFault | None:
    return crew.lose(next(member for member in crew.members if member.index == index), reason, 32)


def wait_for(crew: CollectorCrew, number: int) -> list[RunFault]:
    back: list[RunFault] = []
    while len(crew.members) < number:
        back += crew.admit()
        time.sleep(0.01)
    return back


def test_a_crew_begins_with_a_member_in_every_seat(crews: list[CollectorCrew]) -> None:
    start = Starts()
    crew = make_crew(crews, start)
    assert crew.begin() == []
    assert [(member.index, member.epoch) for member in crew.members] == [(0, 0), (1, 0)]
    assert crew.admit() == []
    assert start.seen == [(0, 0), (1, 0)]


def test_a_lost_member_is_replaced_with_an_epoch_of_its_own(crews: list[CollectorCrew]) -> None:
    start = Starts()
    crew = make_crew(crews, start)
    crew.begin()
    fault = lose(crew, 1)
    assert fault is not None
    assert (fault.what, fault.reason, fault.env_steps_lost) == ("collector 1", "killed", 32)
    assert [member.index for member in crew.members] == [0]
    assert crew.open_faults == [fault]
    (back,) = wait_for(crew, 2)
    assert (back.what, back.reason, back.noticed) == (fault.what, fault.reason, fault.noticed)
    assert back.recovery_s is not None
    assert back.recovery_s > 0.0
    assert not crew.open_faults
    lose(crew, 0)
    wait_for(crew, 2)
    assert start.seen == [(0, 0), (1, 0), (1, 1), (0, 2)]


def test_a_member_is_lost_once(crews: list[CollectorCrew]) -> None:
    crew = make_crew(crews, Starts())
    crew.begin()
    member = crew.members[0]
    assert crew.lose(member, "killed", 0) is not None
    assert crew.lose(member, "killed", 0) is None


@pytest.mark.slow
def test_losses_in_a_row_end_it_and_a_rollout_in_between_forgives_them(crews: list[CollectorCrew]) -> None:
    crew = make_crew(crews, Starts(), size=1, minimum=1)
    crew.begin()
    for _ in range(2 * QUICK.max_rebuilds):
        lose(crew, 0)
        crew.wait_for_one()
        crew.delivered(crew.members[0])
    for _ in range(QUICK.max_rebuilds):
        lose(crew, 0)
        crew.wait_for_one()
    with pytest.raises(WorkerLostError, match=r"collector 0 was lost 4 times in a row; the last time: out of memory"):
        lose(crew, 0, "out of memory")


def test_one_that_is_killed_as_it_starts_is_replaced(crews: list[CollectorCrew]) -> None:
    start = Starts(lambda index, epoch: "dies" if (index, epoch) == (1, 0) else "")
    crew = make_crew(crews, start)
    (fault,) = crew.begin()
    assert fault.what == "collector 1"
    assert {(member.index, member.epoch) for member in crew.members} == {(0, 0), (1, 1)}


def test_what_the_first_constructor_raises_is_raised(crews: list[CollectorCrew]) -> None:
    crew = make_crew(crews, Starts(lambda index, epoch: "no such env"))
    with pytest.raises(ConfigError, match="no such env"):
        crew.begin()


def test_what_a_later_constructor_raises_counts_as_a_loss(crews: list[CollectorCrew]) -> None:
    crew = make_crew(crews, Starts(lambda index, epoch: "bad node" if epoch == 1 else ""))
    crew.begin()
    for member in crew.members:
        crew.delivered(member)
    lose(crew, 0)
    (fault,) = wait_for(crew, 2)
    assert fault.reason == "killed"
    assert [member.epoch for member in crew.members] == [2, 0]


def test_collectors_join_when_there_is_room_for_them(crews: list[CollectorCrew]) -> None:
    occupant = start_light(2)
    ray.get(occupant.ping.remote(), timeout=120)
    crew = make_crew(crews, Starts(), size=3, minimum=1)
    crew.begin()
    assert len(crew.members) == 1
    crew.admit()
    assert len(crew.members) == 1
    ray.kill(occupant)
    assert wait_for(crew, 3) == []
    assert [member.index for member in crew.members] == [0, 1, 2]


def test_a_crew_that_finds_no_room_says_so(crews: list[CollectorCrew]) -> None:
    crew = make_crew(crews, Starts(), size=4, minimum=4, timeout_s=8.0)
    with pytest.raises(WorkerLostError, match=r"3 of 4 collectors came up in 8 s: .*distpolicy doctor"):
        crew.begin()


def test_close_may_be_called_twice(crews: list[CollectorCrew]) -> None:
    crew = make_crew(crews, Starts())
    crew.close()
    crew.close()
    assert not crew.members
    assert crew.admit() == []
