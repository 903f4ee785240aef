"""PolicyServer: a policy on Ray Serve, from its start to its end."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray

from distpolicy.errors import ConfigError, DistPolicyError, WorkerLostError
from distpolicy.utils.addresses import host_and_port
from launch.cluster.placement import ActorGroup, Node
from launch.cluster.session import connected, nodes
from launch.config.common import counted
from launch.config.serve import ServeConfig
from launch.output.run_directory import saved_policy_folder
from launch.serving.ports import reserve
from launch.serving.token import token_sha256
from launch.signals import handled, interrupt
from launch.supervision.own_ray import check_alive
from workers.constructor_errors import ConstructorError
from workers.serving.keeper import NAMESPACE, ServedPolicy
from workers.serving.loader import check_own

_LOAD_TIMEOUT_S = 300.0
_ANSWER_TIMEOUT_S = 10.0
_COUNT_TIMEOUT_S = 2.0
_POLL_S = 1.0
_HEALTH_PERIOD_S = 1.0
_GRACE_S = 5.0
_END_POLL_S = 0.05
# The name of Serve's controller, which stays on a cluster.
_SERVE = "SERVE_CONTROLLER_ACTOR"


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where a policy is served.

    Attributes:
        host: The address.
        port: Port of HTTP.
        grpc_port: Port of gRPC; None for no gRPC.
        num_replicas: Number of replicas.
        note: Why replicas act in TensorFlow; empty if they do not.
        version: The version of the weights.
        needs_token: Whether requests need a token.
        metrics_urls: Where Prometheus reads the metrics of the nodes on which replicas may run; empty if Ray gathers
            none.
    """

    host: str
    port: int
    grpc_port: int | None
    num_replicas: int
    note: str
    version: int
    needs_token: bool
    metrics_urls: tuple[str, ...]

    @property
    def url(self) -> str:
        """The address of HTTP."""
        return f"http://{host_and_port(self.host, self.port)}"

    @property
    def grpc_address(self) -> str:
        """The address of gRPC."""
        assert self.grpc_port is not None
        return host_and_port(self.host, self.grpc_port)


class PolicyServer:
    """A context manager that serves a policy on Ray Serve.

    Args:
        source: Run directory, or the folder of a SavedModel.
        config: The settings.
        debug: Whether to show Ray's log and the workers' output.
        on_preparing: Is told in a few words what is being done.

    Attributes:
        endpoint: Where the policy is served.
        num_actions: Number of actions that were computed, after the end; None if that is not known.
    """

    def __init__(
        self,
        source: Path,
        config: ServeConfig,
        debug: bool = False,
        on_preparing: Callable[[str], None] = lambda what: None,
    ) -> None:
        _need_serve()
        self._source, self._config, self._debug, self._on_preparing = source, config, debug, on_preparing
        self._folder = saved_policy_folder(source, config.stochastic, config.policy == "best")
        if not config.trust_shared:
            check_own(self._folder)
        if config.follow and self._folder == source:
            raise ConfigError("--follow is for a run directory, which gets newer policies")
        self._token_sha256 = token_sha256(config)
        self._resources = contextlib.ExitStack()
        self._served: ServedPolicy
        self._num_loaded = 0
        self.endpoint: Endpoint
        self.num_actions: int | None = None

    def __enter__(self) -> PolicyServer:
        try:
            self._start()
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def wait(
        self,
        on_version: Callable[[int], None] = lambda version: None,
        on_fault: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Serves until it is interrupted, and takes newer policies if it is to follow a run.

        Args:
            on_version: Is told the version of each newer policy.
            on_fault: Is told why a newer policy was not taken, once for each reason. The one before stays.

        Raises:
            WorkerLostError: If Ray has ended.
        """
        told = ""
        while True:
            time.sleep(_POLL_S)
            check_alive()
            try:
                if self._config.follow and self._loads():
                    on_version(self._served.version)
                    told = ""
            # Whatever is wrong with a newer policy, or with what loads it: the one that is served goes on.
            except DistPolicyError as error:
                if str(error) != told:
                    told = str(error)
                    on_fault(told)
            with contextlib.suppress(ray.exceptions.RayError, TimeoutError):  # It is being started again.
                self._give()

    def _start(self) -> None:
        config = self._config
        reserved = self._resources.enter_context(reserve(config.host, config.port))
        port, grpc_port = reserved.getsockname()[1], None
        if config.grpc_port is not None:
            grpc_port = self._resources.enter_context(reserve(config.host, config.grpc_port)).getsockname()[1]
        self._place = config.host, port
        actor = ActorGroup("replica", config.replicas or 1, self._resources_of_replica())
        if not self._debug:
            # Replicas log to files. This process reads the variable when it imports Ray Serve, others when they start.
            os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
        self._resources.enter_context(
            connected(config.address, lambda totals: [actor], self._debug, self._on_preparing)
        )
        if threading.current_thread() is threading.main_thread():
            # Ray, which is there by now, has set its own handler of SIGTERM.
            self._resources.enter_context(handled(interrupt))
        count = self._num_replicas()
        self._on_preparing(f"loading {self._folder}")
        self._load(port)
        # With the address: clients may find the server before it is known that all replicas have started.
        self._on_preparing(f"starting {counted(count, 'replica')} at http://{host_and_port(config.host, port)}")
        self._deploy(port, grpc_port, count)
        self.endpoint = Endpoint(
            config.host,
            port,
            grpc_port,
            count,
            self._served.note,
            self._served.version,
            self._token_sha256 is not None,
            tuple(node.metrics_url for node in self._places() if node.metrics_url),
        )

    def _resources_of_replica(self) -> dict[str, float]:
        gpus = self._config.gpus_per_replica
        return {"CPU": 1.0, **({"GPU": gpus} if gpus else {})}

    def _num_replicas(self) -> int:
        """Returns the number of replicas: as many as are wanted, or as have room on the nodes where they may run.

        Raises:
            ConfigError: If they may run on this machine only, and it has no room for those that are wanted.
        """
        count, places = self._config.replicas, self._places()
        if count is None:
            return max(sum(self._room(node.free or node.total) for node in places), 1)
        # Ray Serve would wait for room for ever. Other nodes may still join.
        if self._config.is_loopback and count > (room := sum(self._room(node.total) for node in places)):
            raise ConfigError(
                f"--replicas {count} do not fit on this machine, which has room for {room}: give a smaller number, or "
                f"another --host than {self._config.host} for the whole cluster"
            )
        return count

    def _places(self) -> list[Node]:
        """Returns the nodes on which replicas may run."""
        return [node for node in nodes() if not self._config.is_loopback or _is_here(node)]

    def _room(self, resources: Mapping[str, float]) -> int:
        """Returns the number of replicas for which some resources are enough."""
        wanted = self._resources_of_replica()
        return min(math.floor(resources.get(name, 0.0) / amount + 1e-9) for name, amount in wanted.items())

    def _load(self, port: int) -> None:
        """Starts the keeper, and gives it the policy."""
        from workers.actors import start_policy_keeper, start_policy_loader

        config = self._config
        inference = "tf" if config.gpus_per_replica else config.inference
        # A cluster may have a server with this port on another node.
        self._name = f"distpolicy-{port}-{secrets.token_hex(4)}"
        self._keeper = start_policy_keeper(f"{self._name}-keeper", NAMESPACE)
        self._loader = start_policy_loader(
            self._folder, inference, config.max_batch, config.trust_shared, f"{self._name}-loader", NAMESPACE
        )
        self._loads()
        self._give()
        if not config.follow:
            ray.kill(self._loader)

    def _loads(self) -> bool:
        """Lets the loader look at the folder. Returns True if there is a policy that was not there before."""
        try:
            served = ray.get(self._loader.load.remote(self._num_loaded), timeout=_LOAD_TIMEOUT_S)
        except ConstructorError as error:
            raise error.error from error
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, DistPolicyError):
                raise error.cause from error
            raise DistPolicyError(f"loading {self._folder} failed: {error.cause}") from error
        except (ray.exceptions.RayError, TimeoutError) as error:
            raise WorkerLostError(f"the actor that loads {self._folder} has ended or does not answer") from error
        if served is None:
            return False
        self._served, self._num_loaded = served, served.number + 1
        return True

    def _give(self) -> None:
        """Gives the keeper the policy unless it has it. A keeper that was started again has lost it."""
        if ray.get(self._keeper.number.remote(), timeout=_ANSWER_TIMEOUT_S) < self._served.number:
            ray.get(self._keeper.put.remote(self._served), timeout=_ANSWER_TIMEOUT_S)

    def _deploy(self, port: int, grpc_port: int | None, count: int) -> None:
        from ray import serve

        from workers.actors import replica_environment
        from workers.serving.replica import PolicyReplica, ReplicaConfig
        from workers.serving.service import ServiceConfig

        config = self._config
        service = ServiceConfig(
            state=config.state,
            max_batch=config.max_batch,
            max_sessions=config.max_sessions,
            session_idle_s=config.session_idle_s,
            check_bounds=config.check_bounds,
            seed=config.seed,
        )
        replica = ReplicaConfig(
            self._source.absolute().name,
            f"{self._name}-keeper",
            config.host,
            config.is_loopback,
            port,
            grpc_port,
            self._token_sha256,
            secrets.token_hex(16),
            service,
            int(config.max_request_mb * 1e6),
            replica_environment(config.gpus_per_replica > 0),
        )
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": config.gpus_per_replica}
        if config.is_loopback:
            # Nobody reaches the loopback address of another node.
            options["resources"] = {f"node:{ray.util.get_node_ip_address()}": 0.001}
        with _quiet(self._debug):
            self._starts_serve = not any(item["name"] == _SERVE for item in ray.util.list_named_actors(True))
            serve.start(proxy_location="Disabled")
            self._resources.callback(self._end)
            deployment = serve.deployment(
                PolicyReplica,
                name="policy",
                num_replicas=count,
                ray_actor_options=options,
                health_check_period_s=_HEALTH_PERIOD_S,
                graceful_shutdown_timeout_s=_GRACE_S,
                graceful_shutdown_wait_loop_s=0.1,
            )
            try:
                serve.run(deployment.bind(replica), name=self._name, route_prefix=None)
            except RuntimeError as error:
                raise DistPolicyError(f"the replicas did not start: {' '.join(str(error).split())[-500:]}") from error

    def _end(self) -> None:
        """Lets the replicas answer what is under way, and end. A Ray that was started here then ends as a whole."""
        from ray import serve

        is_own = self._config.address is None
        with contextlib.suppress(Exception), _quiet(self._debug):
            serve.delete(self._name, _blocking=not is_own)
            deadline = time.monotonic() + _GRACE_S
            while self._has_replicas() and is_own and time.monotonic() < deadline:
                time.sleep(_END_POLL_S)
            # Others may use it by now.
            if not is_own and self._starts_serve and not serve.status().applications:
                serve.shutdown()

    def _has_replicas(self) -> bool:
        """Returns True if some replicas have not ended. Notes the number of actions that all have computed."""
        try:
            num_replicas, self.num_actions = ray.get(self._keeper.totals.remote(), timeout=_COUNT_TIMEOUT_S)
        except (ray.exceptions.RayError, TimeoutError):
            num_replicas = 0
        return num_replicas > 0 or _is_listening(*self._place)


def _is_listening(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        return trial.connect_ex((host, port)) == 0


def _need_serve() -> None:
    from importlib.util import find_spec

    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise ConfigError("Ray Serve is not installed: pip install 'distpolicy[serve]'")


def _is_here(node: Node) -> bool:
    return node.node_id == ray.get_runtime_context().get_node_id()


@contextlib.contextmanager
def _quiet(debug: bool) -> Iterator[None]:
    """Keeps what Ray Serve logs from the terminal."""
    logger = logging.getLogger("ray.serve")
    before = logger.level, logger.propagate
    if not debug:
        logger.setLevel(logging.CRITICAL)
        logger.propagate = False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
