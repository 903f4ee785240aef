"""PolicyReplica: a replica of a served policy, with servers of its own for HTTP and gRPC.

Ray Serve starts, watches and replaces replicas. Requests do not pass its proxy, which takes more of the processors than
a small policy: all replicas of a node listen at the same port, and the kernel divides the connections between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from distpolicy.errors import WorkerLostError
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.serving.messages import Kind, ServingError
from distpolicy.utils.addresses import host_and_port
from distpolicy.utils.atomic_files import write_folder
from distpolicy.utils.error_text import one_line
from workers.serving.keeper import NAMESPACE, ServedPolicy
from workers.serving.metrics import ServingMetrics
from workers.serving.service import PolicyService, ServiceConfig

_START_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 10.0
_GRACE_S = 3.0
_FLUSH_S = 1.0
_KEEP_ALIVE_S = 120
_BACKLOG = 1024
# A policy that computes longer hangs.
_MAX_BATCH_S = 60.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplicaConfig:
    """The settings of a replica.

    Attributes:
        name: Name of what is served, for metrics.
        keeper: Name of the :class:`workers.serving.keeper.PolicyKeeper` actor.
        host: Address to listen at.
        is_loopback: Whether only this machine can reach it.
        port: Port of HTTP.
        grpc_port: Port of gRPC; None for no gRPC.
        token_sha256: SHA-256 of the token that requests must have; None for none.
        forward_key: What the replicas know each other by.
        service: The settings of the service.
        max_body_bytes: The most bytes of a request.
        environment: Environment variables that are set before anything else.
    """

    name: str
    keeper: str
    host: str
    is_loopback: bool
    port: int
    grpc_port: int | None
    token_sha256: bytes | None
    forward_key: str
    service: ServiceConfig
    max_body_bytes: int
    environment: Mapping[str, str]


class PolicyReplica:
    """Serves a policy.

    Args:
        config: The settings.
    """

    def __init__(self, config: ReplicaConfig) -> None:
        self._stopping: asyncio.Event | None = None
        os.environ.update(config.environment)
        self._config = config
        self._name = secrets.token_hex(4)
        self._keeper = ray.get_actor(config.keeper, namespace=NAMESPACE)
        served = self._newest()
        # Of the newest policy that was taken or refused.
        self._number = served.number
        self._metrics = ServingMetrics(config.name, self._name)
        self._num_actions = 0
        self._service = PolicyService(make_policy(served), config.service, self._name, served.version, self._on_batch)
        self._loop: Any = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        # Its own, since Ray's event loop does other things.
        self._thread = threading.Thread(target=self._run, name="serving", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT_S) or self._error is not None:
            raise WorkerLostError(f"the replica did not start to listen: {self._error}")

    def _newest(self) -> ServedPolicy:
        """Waits for the keeper, which may be a new one that has nothing yet."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                served: ServedPolicy | None = ray.get(self._keeper.newest.remote(), timeout=_ANSWER_TIMEOUT_S)
            except (ray.exceptions.RayError, TimeoutError):
                served = None
            if served is not None:
                return served
            if time.monotonic() > deadline:
                raise WorkerLostError("the keeper of the policy does not answer")
            time.sleep(_FLUSH_S)

    async def check_health(self) -> None:
        """Is called by Ray Serve, which replaces a replica that raises.

        Raises:
            WorkerLostError: If the servers have ended or do not answer, or the policy does not come to an end.
        """
        if not self._thread.is_alive():
            raise WorkerLostError(f"the server has ended: {self._error}")
        answered = asyncio.run_coroutine_threadsafe(_nothing(), self._loop)
        try:
            await asyncio.wait_for(asyncio.wrap_future(answered), _ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise WorkerLostError("the server does not answer") from error
        if self._service.busy_s > _MAX_BATCH_S:
            raise WorkerLostError(f"the policy has computed one batch for {self._service.busy_s:.0f} s")

    def stop(self) -> None:
        """Ends the servers. Requests under way are answered."""
        if self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_GRACE_S + 1.0)

    def __del__(self) -> None:
        """Is called by Ray Serve when it ends a replica."""
        self.stop()

    def _run(self) -> None:
        try:
            _runner()(self._serve())
        except BaseException as error:  # Told by check_health.
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        """Listens until the replica is stopped."""
        import uvicorn

        from workers.serving.frontend import Frontend
        from workers.serving.http_app import HttpApp
        from workers.serving.pages import pages

        config = self._config
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        service, metrics = self._service, self._metrics
        frontend = Frontend(service, self._name, config.token_sha256, config.forward_key, self._address_of, metrics)
        is_everywhere = ipaddress.ip_address(config.host).is_unspecified
        url = f"http://{host_and_port(ray.util.get_node_ip_address() if is_everywhere else config.host, config.port)}"
        described = pages(config.name, service, frontend.needs_token, url)
        app = HttpApp(frontend, described, config.max_body_bytes)
        shared = _listen(config.host, config.port)
        # For requests that other replicas pass on because this one has their session.
        own = _listen(config.host if config.is_loopback else ray.util.get_node_ip_address(), 0)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",
                access_log=False,
                log_level="error",
                server_header=False,
                proxy_headers=False,
                date_header=False,
                # Without them an upgrade is an ordinary request.
                ws="none",
                # A client may act once a minute. Replicas keep their own connections for 15 s.
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(_GRACE_S),
            )
        )
        address = host_and_port(*own.getsockname()[:2])
        await self._check_in(address)
        grpc_server = None if config.grpc_port is None else await _start_grpc(config, frontend)
        tasks = [
            asyncio.create_task(server.serve(sockets=[shared, own])),
            asyncio.create_task(self._follow(address)),
            asyncio.create_task(_flush(metrics, service)),
            asyncio.create_task(self._stopping.wait()),
        ]
        while not server.started and not tasks[0].done():
            await asyncio.sleep(0.01)
        self._started.set()
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        if grpc_server is not None:
            await grpc_server.stop(_GRACE_S)
        await asyncio.wait(tasks[:1], timeout=_GRACE_S)
        for task in tasks[1:3]:
            task.cancel()
        await self._leave()
        await frontend.close()
        service.close()
        for task in done:
            task.result()

    async def _follow(self, address: str) -> None:
        """Tells the keeper all the time where this replica is, and takes newer policies from it."""
        taking: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(_FLUSH_S)
            served = await self._check_in(address)
            if served is not None and (taking is None or taking.done()):
                # Loading takes a moment, in which requests are answered.
                taking = asyncio.create_task(self._take(served))

    async def _check_in(self, address: str) -> ServedPolicy | None:
        try:
            served: ServedPolicy | None = await self._ask(
                self._keeper.check_in.remote(self._name, address, self._number, self._num_actions)
            )
        except (ray.exceptions.RayError, TimeoutError):
            return None  # The driver is ending, or the keeper is being started again: the policy stays as it is.
        return served

    async def _leave(self) -> None:
        """Tells the keeper that this replica has ended, after its last answer."""
        with contextlib.suppress(ray.exceptions.RayError, TimeoutError):
            await self._ask(self._keeper.leave.remote(self._name, self._num_actions))

    def _on_batch(self, num_rows: int, seconds: float) -> None:
        self._num_actions += num_rows
        self._metrics.on_batch(num_rows, seconds)

    async def _take(self, served: ServedPolicy) -> None:
        """Serves a newer policy. The policy stays as it is if that one cannot be loaded or does not compute."""
        service = self._service

        def loaded() -> Any:
            policy = make_policy(served)
            service.try_out(policy)
            return policy

        self._number = served.number
        try:
            policy = await asyncio.to_thread(loaded)
        except Exception as error:  # A policy may raise anything.
            _logger.error(
                "version %d is not taken, the previous one stays: %s: %s",
                served.version,
                type(error).__name__,
                one_line(error),
            )
            return

        def change() -> None:
            service.policy = policy

        service.update(change, served.version)

    async def _address_of(self, replica: str) -> str | None:
        try:
            address: str | None = await self._ask(self._keeper.address_of.remote(replica))
        except (ray.exceptions.RayError, TimeoutError) as error:
            raise ServingError("the session's replica cannot be found now: try again later", Kind.BUSY) from error
        return address

    async def _ask(self, reference: Any) -> Any:
        return await asyncio.wait_for(asyncio.wrap_future(reference.future()), _ANSWER_TIMEOUT_S)


def make_policy(served: ServedPolicy) -> Any:
    """Returns a policy that acts on batches of arrays. Imports TensorFlow only if there is no program.

    Args:
        served: What the keeper has.
    """
    if served.program is not None:
        return PyTFEagerPolicy(ProgramPolicy(served.program), batch_time_steps=False)
    from distpolicy.policies.py_tf_eager_policy import SavedModelPyTFEagerPolicy

    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "policy"
        write_folder(folder, served.files)
        import tensorflow as tf

        # Otherwise TensorFlow takes the whole memory of a GPU that several replicas share.
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        return SavedModelPyTFEagerPolicy(folder, use_tf_function=True, batch_time_steps=False, inference="tf")


async def _start_grpc(config: ReplicaConfig, frontend: Any) -> Any:
    # Imported here: a service without gRPC does not need it.
    import grpc

    from workers.serving.grpc_server import grpc_handlers

    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 1), ("grpc.max_receive_message_length", config.max_body_bytes)]
    )
    server.add_generic_rpc_handlers(grpc_handlers(frontend))
    assert config.grpc_port is not None
    server.add_insecure_port(host_and_port(config.host, config.grpc_port))
    await server.start()
    return server


async def _flush(metrics: Any, service: PolicyService) -> None:
    while True:
        await asyncio.sleep(_FLUSH_S)
        service.sessions.expire()
        metrics.flush(len(service.sessions))


def _listen(host: str, port: int) -> socket.socket:
    """Returns a socket that shares its port with the other replicas of the node."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind((host, port))
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Returns what runs a coroutine in an event loop of its own: uvloop, or asyncio where that is not installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run
    return run


async def _nothing() -> None:
    return None
