"""PolicyReplica: a replica of a served policy, with servers of its own for HTTP and gRPC.

Ray Serve starts, watches and replaces replicas. Requests do not pass its proxy, which takes more of the processors than
a small policy: all replicas of a node listen at the same port, and the kernel divides the connections between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from distpolicy.errors import WorkerLostError
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.serving.messages import Kind, ServingError
from distpolicy.utils.atomic_files import write_folder
from workers.serving.keeper import NAMESPACE, ServedPolicy
from workers.serving.service import PolicyService, ServiceConfig

_START_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 10.0
_GRACE_S = 3.0
_FLUSH_S = 1.0
_KEEP_ALIVE_S = 120
_BACKLOG = 1024


@dataclass(frozen=True)
class ReplicaConfig:
    """The settings of a replica.

    Attributes:
        name: Name of what is served, for metrics.
        keeper: Name of the :class:`workers.serving.keeper.PolicyKeeper` actor.
        host: Address to listen at.
        port: Port of HTTP.
        grpc_port: Port of gRPC; None for no gRPC.
        token_sha256: SHA-256 of the token that requests must have; None for none.
        service: The settings of the service.
        max_body_bytes: The most bytes of a request.
        environment: Environment variables that are set before anything else.
    """

    name: str
    keeper: str
    host: str
    port: int
    grpc_port: int | None
    token_sha256: bytes | None
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
        served = ray.get(self._keeper.newest.remote(), timeout=_ANSWER_TIMEOUT_S)
        self._served: ServedPolicy = served
        self._policy = make_policy(served)
        self._loop: Any = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        # Its own, since Ray's event loop does other things.
        self._thread = threading.Thread(target=self._run, name="serving", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT_S) or self._error is not None:
            raise WorkerLostError(f"the replica did not start to listen: {self._error}")

    async def check_health(self) -> None:
        """Is called by Ray Serve, which replaces a replica that raises.

        Raises:
            WorkerLostError: If the servers have ended, or do not answer.
        """
        if not self._thread.is_alive():
            raise WorkerLostError(f"the server has ended: {self._error}")
        answered = asyncio.run_coroutine_threadsafe(_nothing(), self._loop)
        try:
            await asyncio.wait_for(asyncio.wrap_future(answered), _ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise WorkerLostError("the server does not answer") from error

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
            with contextlib.suppress(ImportError):
                import uvloop

                uvloop.run(self._serve())
                return
            asyncio.run(self._serve())
        except BaseException as error:  # Told by check_health.
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        """Listens until the replica is stopped."""
        import uvicorn

        from workers.serving.frontend import Frontend
        from workers.serving.http_app import HttpApp
        from workers.serving.metrics import ServingMetrics
        from workers.serving.pages import pages

        config = self._config
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        metrics = ServingMetrics(config.name, self._name)
        service = PolicyService(self._policy, config.service, self._name, self._served.version, metrics.on_batch)
        frontend = Frontend(service, self._name, config.token_sha256, self._address_of, metrics)
        app = HttpApp(frontend, pages(config.name, service, config.token_sha256 is not None), config.max_body_bytes)
        shared = _listen(config.host, config.port)
        # For requests that other replicas pass on because this one has their session.
        own = _listen(config.host if _is_loopback(config.host) else ray.util.get_node_ip_address(), 0)
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
        host, port = own.getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        await self._ask(self._keeper.register.remote(self._name, address))
        grpc_server = None if config.grpc_port is None else await _start_grpc(config, frontend)
        tasks = [
            asyncio.create_task(server.serve(sockets=[shared, own])),
            asyncio.create_task(self._follow(service)),
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
        await frontend.close()
        service.close()
        for task in done:
            task.result()

    async def _follow(self, service: PolicyService) -> None:
        """Takes newer policies from the keeper."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            try:
                served = await self._ask(self._keeper.newest.remote(self._served.number))
            except (ray.exceptions.RayError, TimeoutError):
                continue  # The driver is ending, or the keeper's node is gone: the policy stays as it is.
            if served is None:
                continue
            # Loading takes a moment, in which requests are answered.
            policy = await asyncio.to_thread(make_policy, served)
            self._served = served

            def change(policy: Any = policy) -> None:
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
    host = f"[{config.host}]" if ":" in config.host else config.host
    server.add_insecure_port(f"{host}:{config.grpc_port}")
    await server.start()
    return server


async def _flush(metrics: Any, service: PolicyService) -> None:
    while True:
        await asyncio.sleep(_FLUSH_S)
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


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


async def _nothing() -> None:
    return None
