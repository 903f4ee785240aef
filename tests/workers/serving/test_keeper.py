"""The keeper knows where replicas are, and forgets those that have ended."""

from __future__ import annotations

import pytest

from workers.serving.keeper import PolicyKeeper, ServedPolicy


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_replica_that_has_ended_is_forgotten() -> None:
    clock = Clock()
    keeper = PolicyKeeper(clock)
    keeper.check_in("a1", "127.0.0.1:1", 0, 0)
    clock.now += 20.0
    keeper.check_in("b2", "127.0.0.1:2", 0, 0)
    assert keeper.address_of("a1") == "127.0.0.1:1"
    clock.now += 20.0
    assert keeper.address_of("a1") is None
    assert keeper.address_of("b2") == "127.0.0.1:2"


def test_a_keeper_that_has_just_started_does_not_say_that_a_replica_has_ended() -> None:
    clock = Clock()
    keeper = PolicyKeeper(clock)
    with pytest.raises(LookupError, match="has not told its address yet"):
        keeper.address_of("a1")
    keeper.check_in("a1", "127.0.0.1:1", 0, 0)
    assert keeper.address_of("a1") == "127.0.0.1:1"
    clock.now += 10.0
    assert keeper.address_of("c3") is None


def test_replicas_get_newer_policies_only() -> None:
    keeper = PolicyKeeper()
    assert (keeper.newest(), keeper.number()) == (None, -1)
    policy = ServedPolicy(version=7, program=None, files={}, note="", number=2)
    keeper.put(policy)
    assert keeper.number() == 2
    assert keeper.check_in("a1", "127.0.0.1:1", 1, 0) is policy
    assert keeper.check_in("a1", "127.0.0.1:1", 2, 0) is None


def test_the_actions_of_replicas_that_have_ended_count() -> None:
    keeper = PolicyKeeper()
    keeper.check_in("a1", "127.0.0.1:1", 0, 3)
    keeper.check_in("b2", "127.0.0.1:2", 0, 4)
    assert keeper.totals() == (2, 7)
    keeper.leave("a1", 10)
    assert keeper.totals() == (1, 14)
