"""The servers of a recurrent policy in this process, without Ray."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from summing_policy import SummingPolicy

from workers.serving.frontend import Frontend
from workers.serving.grpc_server import grpc_handlers
from workers.serving.http_app import HttpApp
from workers.serving.pages import pages
from workers.serving.service import PolicyService, ServiceConfig


class Counted:
    """Notes the requests."""

    def __init__(self) -> None:
        self.statuses: list[tuple[str, int]] = []

    def on_request(self, protocol: str, status: int, seconds: float) -> None:
        self.statuses.append((protocol, status))


class Served:
    """A service with its servers in a thread."""

    keep_alive_s = 0.5

    def __init__(
        self,
        service: Callable[[], PolicyService],
        replica: str,
        token: str | None,
        others: dict[str, str],
        body_timeout_s: float,
    ) -> None:
        self.counted = Counted()
        self._body_timeout_s = body_timeout_s
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
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        described = pages("summing", self.service, frontend.needs_token, self.http)
        app = HttpApp(frontend, described, 10_000, self._body_timeout_s)
        grpc_server = grpc.aio.server()
        grpc_server.add_generic_rpc_handlers(grpc_handlers(frontend))
        self.grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
        await grpc_server.start()
        config = uvicorn.Config(app, lifespan="off", log_level="error", ws="none")
        config.timeout_keep_alive = self.keep_alive_s  # type: ignore[assignment]
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            await asyncio.sleep(0.01)
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

    def start(
        has_state: bool = True,
        token: str | None = None,
        replica: str = "a1",
        body_timeout_s: float = 30.0,
        **config: Any,
    ) -> Served:
        settings = ServiceConfig(max_batch=8, **config)

        def service() -> PolicyService:
            return PolicyService(SummingPolicy(has_state), settings, replica, 3)

        running.append(Served(service, replica, token, others, body_timeout_s))
        return running[-1]

    yield start
    for served in running:
        served.close()
