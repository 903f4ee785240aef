"""A replica with its servers, in this process and with a keeper beside it. No Ray."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import ray
from summing_policy import SummingPolicy

from distpolicy.errors import WorkerLostError
from distpolicy.serving import PolicyClient
from workers.serving import replica as replicas
from workers.serving.keeper import PolicyKeeper, ServedPolicy
from workers.serving.replica import PolicyReplica, ReplicaConfig
from workers.serving.service import ServiceConfig

OBSERVATION = {"value": np.float32([1, 2]), "picture": np.zeros((2, 2), np.uint8)}


class Reference:
    """Stands for Ray's reference to an answer."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def future(self) -> Future[Any]:
        found: Future[Any] = Future()
        found.set_result(self.value)
        return found


class Method:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def remote(self, *arguments: Any) -> Reference:
        return Reference(self._function(*arguments))


class Handle:
    """Stands for the keeper's handle."""

    def __init__(self, keeper: PolicyKeeper) -> None:
        self.newest, self.check_in, self.address_of, self.leave = map(
            Method, (keeper.newest, keeper.check_in, keeper.address_of, keeper.leave)
        )


@pytest.fixture
def keeper() -> PolicyKeeper:
    keeper = PolicyKeeper()
    keeper.put(ServedPolicy(version=3, program=None, files={}, note=""))
    return keeper


@pytest.fixture
def policies(monkeypatch: pytest.MonkeyPatch, keeper: PolicyKeeper) -> dict[int, Any]:
    """What the policies of the keeper are, by their numbers."""
    found: dict[int, Any] = {0: SummingPolicy()}

    class NoMetrics:
        def __init__(self, policy: str, replica: str) -> None: ...
        def on_request(self, protocol: str, status: int, seconds: float) -> None: ...
        def on_batch(self, num_rows: int, seconds: float) -> None: ...
        def flush(self, num_sessions: int) -> None: ...

    monkeypatch.setattr(ray, "get_actor", lambda name, namespace: Handle(keeper))
    monkeypatch.setattr(ray, "get", lambda reference, timeout: reference.value)
    monkeypatch.setattr(replicas, "ServingMetrics", NoMetrics)
    monkeypatch.setattr(replicas, "make_policy", lambda served: found[served.number])
    monkeypatch.setattr(replicas, "_FLUSH_S", 0.05)
    return found


def free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.bind((host, 0))
        port: int = trial.getsockname()[1]
        return port


@contextlib.contextmanager
def started(host: str = "127.0.0.1", **service: Any) -> Iterator[tuple[PolicyReplica, str]]:
    port = free_port(host)
    settings = ServiceConfig(max_batch=8, **service)
    replica = PolicyReplica(ReplicaConfig("name", "keeper", host, True, port, None, None, "key", settings, 10_000, {}))
    try:
        yield replica, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        replica.stop()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_newer_policy_that_fails_is_not_taken_and_the_next_one_is(
    keeper: PolicyKeeper, policies: dict[int, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with started() as (_, url), PolicyClient(url) as client:
        assert client.act(OBSERVATION).version == 3
        policies[1] = SummingPolicy()
        policies[1].error = ValueError("damaged")
        for number, version in ((1, 4), (2, 5)):  # There is no policy with the number 2: it cannot be loaded.
            keeper.put(ServedPolicy(version, None, {}, "", number))
            wait_for(lambda version=version: f"version {version} is not taken" in caplog.text)
            assert client.act(OBSERVATION).version == 3
        assert len(caplog.records) == 2
        policies[3] = SummingPolicy()
        policies[3].factor = 10.0
        keeper.put(ServedPolicy(6, None, {}, "", 3))
        wait_for(lambda: client.act(OBSERVATION).version == 6)
        client.reset()
        np.testing.assert_array_equal(client.action(OBSERVATION), [10, 20])


def test_a_replica_whose_policy_does_not_come_to_an_end_is_ill(
    policies: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    gate.set()

    class Slow(SummingPolicy):
        def action(self, time_step: Any, policy_state: Any, seed: Any) -> Any:
            time.sleep(0.002)  # So slow that batches are computed in a thread.
            gate.wait(20)
            return super().action(time_step, policy_state, seed)

    policies[0] = Slow()
    monkeypatch.setattr(replicas, "_MAX_BATCH_S", 0.1)
    with started() as (replica, url), PolicyClient(url) as client:
        client.act(OBSERVATION)
        asyncio.run(replica.check_health())
        gate.clear()
        asking = threading.Thread(target=lambda: client.act(OBSERVATION))
        asking.start()
        wait_for(lambda: replica._service.busy_s > 0.1)
        with pytest.raises(WorkerLostError, match="has computed one batch for"):
            asyncio.run(replica.check_health())
        gate.set()
        asking.join()
        asyncio.run(replica.check_health())


def test_idle_sessions_end_although_nobody_asks(policies: dict[int, Any]) -> None:
    with started(session_idle_s=1.0) as (replica, url), PolicyClient(url) as client:
        client.act(OBSERVATION)
        assert len(replica._service.sessions) == 1
        wait_for(lambda: len(replica._service.sessions) == 0)
        client._session = None


def test_a_loopback_address_is_one_however_it_is_spelt(keeper: PolicyKeeper, policies: dict[int, Any]) -> None:
    told: list[str] = []
    check_in = keeper.check_in
    keeper.check_in = lambda replica, address, *numbers: (  # type: ignore[method-assign]
        told.append(address),
        check_in(replica, address, *numbers),
    )[1]
    with started("0:0:0:0:0:0:0:1"):
        assert told[0].startswith("[::1]:")


def test_a_replica_that_ends_tells_how_many_actions_it_has_computed(
    keeper: PolicyKeeper, policies: dict[int, Any]
) -> None:
    batch: Any = {name: np.stack([leaf] * 3) for name, leaf in OBSERVATION.items()}
    with started() as (replica, url):
        for observation in (OBSERVATION, batch, batch):
            with PolicyClient(url) as client:
                client.act(observation)
        assert keeper.totals()[0] == 1
        # At once: the last actions have not been told before.
        replica.stop()
        assert keeper.totals() == (0, 7)
