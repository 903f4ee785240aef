"""Sessions keep their state until they are ended or idle, and there are not too many."""

from __future__ import annotations

import numpy as np
import pytest

from distpolicy.serving.messages import Kind, ServingError
from workers.serving.sessions import SessionStore, replica_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> SessionStore:
    return SessionStore("a1", max_sessions=3, idle_s=10.0, clock=clock)


def state(value: float) -> list[np.ndarray]:
    return [np.array([value])]


def test_state_of_the_last_request_is_that_of_the_next(store: SessionStore) -> None:
    name = store.begin(1, False, state(1)).name
    assert replica_of(name) == "a1"
    session = store.use(name, 1, False)
    store.release(session, state(2))
    assert store.use(name, 1, False).state == state(2)


def test_a_failed_request_leaves_the_state(store: SessionStore) -> None:
    name = store.begin(1, False, state(1)).name
    store.release(store.use(name, 1, False), None)
    assert store.use(name, 1, False).state == state(1)


def test_requests_of_a_session_come_one_after_the_other(store: SessionStore) -> None:
    name = store.begin(1, False, state(1)).name
    store.use(name, 1, False)
    with pytest.raises(ServingError, match="has a request under way") as caught:
        store.use(name, 1, False)
    assert caught.value.kind is Kind.CONFLICT


def test_number_of_rows_stays(store: SessionStore) -> None:
    name = store.begin(2, True, state(1)).name
    with pytest.raises(ServingError, match="began with a batch of 2"):
        store.use(name, 3, True)
    with pytest.raises(ServingError, match="began with a batch of 2"):
        store.use(name, 1, False)
    store.use(name, 2, True)


def test_idle_sessions_end_and_used_ones_stay(store: SessionStore, clock: Clock) -> None:
    idle, used = store.begin(1, False, state(1)).name, store.begin(1, False, state(2)).name
    clock.now = 8.0
    store.release(store.use(used, 1, False), state(3))
    clock.now = 12.0
    assert store.use(used, 1, False).state == state(3)
    with pytest.raises(ServingError, match=r"is not known: it was ended, was idle for 10 s") as caught:
        store.use(idle, 1, False)
    assert caught.value.kind is Kind.NOT_FOUND
    assert len(store) == 1


def test_a_session_with_a_request_under_way_does_not_expire(store: SessionStore, clock: Clock) -> None:
    session = store.use(store.begin(1, False, state(1)).name, 1, False)
    clock.now = 100.0
    store.check_room(1)
    assert len(store) == 1
    store.release(session, state(2))
    assert store.use(session.name, 1, False).state == state(2)


def test_limit_is_kept_until_sessions_end_or_expire(store: SessionStore, clock: Clock) -> None:
    names = [store.begin(1, False, state(1)).name for _ in range(3)]
    with pytest.raises(ServingError, match="3 of 3 sessions are in use") as caught:
        store.begin(1, False, state(1))
    assert caught.value.kind is Kind.BUSY
    store.end(names[0])
    store.begin(1, False, state(1))
    clock.now = 11.0
    for _ in range(3):
        store.begin(1, False, state(1))
    with pytest.raises(ServingError, match="is not known"):
        store.end(names[1])


def test_a_session_with_a_batch_counts_as_its_rows(clock: Clock) -> None:
    store = SessionStore("a1", 10, 60.0, clock)
    first = store.begin(6, True, [])
    with pytest.raises(ServingError, match="6 of 10 sessions are in use, and 5 more asked for"):
        store.begin(5, True, [])
    store.begin(4, True, [])
    store.end(first.name)
    store.begin(6, True, [])
    clock.now += 61.0
    store.begin(10, True, [])
    assert len(store) == 1


def test_names_cannot_be_guessed(store: SessionStore) -> None:
    first, second = (store.begin(1, False, state(1)).name for _ in range(2))
    assert first != second
    assert len(first) >= 18


def test_sessions_end_without_a_request_too(store: SessionStore, clock: Clock) -> None:
    store.begin(1, False, state(1))
    clock.now = 11.0
    store.expire()
    assert len(store) == 0
