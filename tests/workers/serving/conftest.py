"""A recurrent policy in NumPy, and its servers in this process, without Ray."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep, time_step_spec
from workers.serving.frontend import Frontend
from workers.serving.grpc_server import grpc_handlers
from workers.serving.http_app import HttpApp
from workers.serving.pages import pages
from workers.serving.service import PolicyService, ServiceConfig


class SummingPolicy:
    """Its action is the sum of its observations in the episode, and its info the number of steps."""

    def __init__(self, has_state: bool = True) -> None:
        self.time_step_spec = time_step_spec(
            {"value": BoundedArraySpec((2,), np.float32, -100, 100), "picture": ArraySpec((2, 2), np.uint8)}
        )
        self.action_spec = ArraySpec((2,), np.float32)
        self.info_spec = {"steps": ArraySpec((), np.int64)} if has_state else ()
        self.policy_state_spec = (ArraySpec((2,), np.float32), ArraySpec((), np.int64)) if has_state else ()
        self.factor = 1.0
        self.error: Exception | None = None

    def get_initial_state(self, batch_size: int) -> Any:
        if not self.policy_state_spec:
            return ()
        return np.zeros((batch_size, 2), np.float32), np.zeros(batch_size, np.int64)

    def action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        if self.error is not None:
            raise self.error
        value = self.factor * time_step.observation["value"]
        if not policy_state:
            return PolicyStep(value, (), ())
        kept = time_step.step_type != 0
        total = np.float32(kept[:, None] * policy_state[0] + value)
        steps = kept * policy_state[1] + 1
        return PolicyStep(total, (total, steps), {"steps": steps})


class Counted:
    """Notes the requests."""

    def __init__(self) -> None:
        self.statuses: list[tuple[str, int]] = []

    def on_request(self, protocol: str, status: int, seconds: float) -> None:
        self.statuses.append((protocol, status))


class Served:
    """A service with its servers in a thread."""

    keep_alive_s = 0.5
    body_timeout_s = 0.5

    def __init__(self, service: Callable[[], PolicyService], replica: str, token: str | None, others: dict) -> None:
        self.counted = Counted()
        self.others = others
        self.asked: list[str] = []
        self._make_service, self._replica = service, replica
        self._token_sha256 = None if token is None else hashlib.sha256(token.encode()).digest()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._started.wait(20)
        others[replica] = f"127.0.0.1:{self.port}"

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls a function in the server's event loop."""
        self._server.servers[0].get_loop().call_soon_threadsafe(function, *arguments)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc(self) -> str:
        return f"grpc://127.0.0.1:{self.grpc_port}"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    async def _serve(self) -> None:
        import grpc
        import uvicorn

        self.service = self._make_service()

        async def address_of(replica: str) -> str | None:
            self.asked.append(replica)
            return self.others.get(replica)

        frontend = Frontend(self.service, self._replica, self._token_sha256, "a-key", address_of, self.counted)
        described = pages("summing", self.service, frontend.needs_token)
        app = HttpApp(frontend, described, 10_000, self.body_timeout_s)
        grpc_server = grpc.aio.server()
        grpc_server.add_generic_rpc_handlers(grpc_handlers(frontend))
        self.grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
        await grpc_server.start()
        config = uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="error", ws="none")
        config.timeout_keep_alive = self.keep_alive_s  # type: ignore[assignment]
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self._started.set()
        await serving
        await grpc_server.stop(0)
        await frontend.close()
        self.service.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Starts the servers of a policy; several of them know each other's addresses."""
    running: list[Served] = []
    others: dict[str, str] = {}

    def start(has_state: bool = True, token: str | None = None, replica: str = "a1", **config: Any) -> Served:
        settings = ServiceConfig(max_batch=8, **config)
        running.append(
            Served(lambda: PolicyService(SummingPolicy(has_state), settings, replica, 3), replica, token, others)
        )
        return running[-1]

    yield start
    for served in running:
        served.close()
