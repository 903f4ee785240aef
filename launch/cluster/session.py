"""connected: starts Ray for a run, or joins a cluster."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.utils.addresses import host_and_port
from launch.child_processes import none_left
from launch.cluster import authentication
from launch.cluster.placement import ActorGroup, Node, check_places, this_machine, total_resources
from launch.cluster.session_folder import session_folder

_CONNECT_TIMEOUT_S = 10.0
_TOKEN_ADVICE = "copy the head's ~/.ray/auth_token here, and set RAY_AUTH_MODE=token"
_HEAD_RESOURCE = "node:__internal_head__"
# Ray keeps the last 100,000 calls for tools that show them, which takes 300 MiB after some hours. A Ray that is started
# here has no such tools, and the timeline of ``--profile`` shows the last few updates.
_KEPT_CALLS = 10_000


@contextlib.contextmanager
def connected(
    address: str | None,
    actors: Callable[[Mapping[str, float]], Sequence[ActorGroup]] = lambda totals: (),
    debug: bool = False,
    on_preparing: Callable[[str], None] = lambda what: None,
) -> Iterator[None]:
    """Starts Ray or joins a cluster for the time of a run. A Ray that it started ends with all its processes.

    If this process is connected to a Ray already, the run uses that one, and leaves it as it is.

    Args:
        address: Address of a cluster, ``auto`` for the one on this machine, or None to start Ray.
        actors: Returns the actors of the run, given the sum of all nodes' resources.
        debug: Whether to show Ray's log and the workers' output.
        on_preparing: Is told in a few words that Ray is started or joined, once the input has passed its checks.

    Raises:
        ConfigError: If there is no cluster at the address, it has no room for the actors, or other users may know its
            token.
        DistPolicyError: If Ray does not start.
    """
    if ray.is_initialized():
        found = nodes()
        check_places(actors(total_resources(found)), found, "the Ray of this process", grows=True)
        yield
        return
    if address is None:
        machine = [this_machine()]
        check_places(actors(total_resources(machine)), machine, "this machine", grows=False)
        authentication.provide_token()
    else:
        authentication.check_token()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # workers/actors.py decides for each actor whether it sees GPUs.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not debug:
        # The first error ends the run and is reported in one line. Errors of calls that depended on it add nothing.
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    if address is not None:
        check_reachable(address)
    on_preparing("starting Ray" if address is None else f"joining the Ray cluster at {address}")
    with contextlib.ExitStack() as resources:
        folder = resources.enter_context(session_folder()) if address is None else None
        resources.enter_context(none_left(lambda: _start(address, folder, debug), ray.shutdown))
        if not debug:
            # Raylets print a paragraph about each worker that ended, whatever log_to_driver says. We print one line.
            ray._private.worker._worker_logs_enabled = False
        if address is not None:
            found = nodes()
            check_places(actors(total_resources(found)), found, f"the Ray cluster at {address}", grows=True)
        yield


def describe_starting(collectors: str, num_cpus: float) -> str:
    """Returns that collectors are started, and the number of CPUs that they have to wait for.

    Args:
        collectors: The collectors in words.
        num_cpus: Number of CPUs that the first ones need together.
    """
    # A node that has just started does not tell what is free.
    free = sum((node.free or node.total).get("CPU", 0.0) for node in nodes())
    lacking = num_cpus - free
    waiting = f"; waiting for {lacking:g} CPU{'s' if lacking > 1 else ''}" if lacking > 0 else ""
    return f"starting {collectors}{waiting}"


def _start(address: str | None, folder: Path | None, debug: bool) -> None:
    """Starts Ray in a folder, or joins it at an address. Reports errors in one line."""
    level = "info" if debug else "error"
    try:
        if address is None:
            # If SIGTERM arrives during the start, Ray would wait half a minute for open requests, and there are none.
            ray._private.ray_constants.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S = 0.0
            os.environ.setdefault("RAY_task_events_max_num_task_in_gcs", str(_KEPT_CALLS))
            with _on_loopback_alone(), _from_any_thread(), _without_services(debug):
                ray.init(
                    address="local",
                    include_dashboard=False,
                    log_to_driver=debug,
                    logging_level=level,
                    job_config=_job(),
                    _temp_dir=str(folder),
                )
        else:
            ray.init(address=address, log_to_driver=debug, logging_level=level, job_config=_job())
    except ConnectionError as error:
        raise ConfigError(
            f"no Ray cluster at {address}: start one with `ray start --head`, or leave out --address; if one runs "
            f"there, it has another version of Ray or asks for a token: {_TOKEN_ADVICE}"
        ) from error
    except ray.exceptions.AuthenticationError as error:
        raise ConfigError(f"the Ray cluster at {address} asks for a token: {_TOKEN_ADVICE}") from error
    except Exception as error:  # Ray raises a bare Exception if a part of it does not start in time.
        raise DistPolicyError(f"Ray did not start: {' '.join(str(error).split())}") from error


def _job() -> ray.job_config.JobConfig:
    """Returns settings by which workers search the working directory for modules only if this process does.

    Ray puts it first on the workers' search path: a file there would hide an installed module, whoever wrote it. It
    leaves this out for jobs of its client, and a job of the client is nothing else here.
    """
    here = {"", os.getcwd()} & set(sys.path)
    return ray.job_config.JobConfig(_client_job=not here)


@contextlib.contextmanager
def _on_loopback_alone() -> Iterator[None]:
    """A Ray that is started here listens on loopback alone, as Ray's own default is on macOS and Windows."""
    constants = ray._private.ray_constants
    # Ray's own processes read the variable; this one has read it when Ray was imported.
    name = constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, variable = constants.ENABLE_RAY_CLUSTER, os.environ.get(name)
    constants.ENABLE_RAY_CLUSTER, os.environ[name] = False, "0"
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
        del os.environ[name]
        if variable is not None:
            os.environ[name] = variable


@contextlib.contextmanager
def _without_services(debug: bool) -> Iterator[None]:
    """A Ray that is started here for one run has none of the programs that serve a cluster's users.

    They are the autoscaler's monitor, the dashboard's server and, unless the workers' output is shown, the monitor of
    logs. Their imports take as much of the processors as the rest of Ray's start.
    """
    node = ray._private.node.Node
    names = ["start_monitor", "start_api_server", *([] if debug else ["start_log_monitor"])]
    before = {name: getattr(node, name) for name in names if hasattr(node, name)}
    for name in before:
        setattr(node, name, lambda *arguments, **keywords: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(node, name, method)


@contextlib.contextmanager
def _from_any_thread() -> Iterator[None]:
    """Lets Ray start in a thread that may not set signal handlers; it then has none of its own."""
    utils = ray._private.utils
    before = utils.set_sigterm_handler
    if threading.current_thread() is not threading.main_thread():
        utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = before


def check_reachable(address: str) -> None:
    """Checks that something listens at the address, since Ray would try for minutes.

    Args:
        address: ``HOST:PORT``, or ``auto``, which is not checked.

    Raises:
        ConfigError: If nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return  # "auto": Ray looks the address up.
    if not 0 < int(port) < 65536:
        raise ConfigError(f"no Ray cluster at {address}: a port is from 1 to 65535")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster at {address}: {error.strerror or error}; check the address, or start one there with "
            "`ray start --head`"
        ) from error


def nodes() -> list[Node]:
    """Returns the nodes that are alive, the head first.

    A node's name is its address. If several nodes have the same address, the beginning of the node id is added.
    """
    # Ray has no public call for the free resources of each node.
    free = ray._private.state.available_resources_per_node()
    alive = [node for node in ray.nodes() if node["Alive"]]
    addresses = [node["NodeManagerAddress"] for node in alive]
    found = []
    for node, address in zip(alive, addresses, strict=True):
        node_id, total = node["NodeID"], node["Resources"]
        store = int(total.get("object_store_memory", 0))
        name = address if addresses.count(address) == 1 else f"{address}/{node_id[:6]}"
        if _HEAD_RESOURCE in total:
            name += " (head)"
        free_here = _requestable(free.get(node_id, {}))
        found.append(Node(name, _requestable(total), free_here, node_id, store, _metrics_url(node)))
    return sorted(found, key=lambda node: (not node.name.endswith("(head)"), node.name))


def _metrics_url(node: Mapping[str, Any]) -> str:
    host, port = node["NodeManagerAddress"], node.get("MetricsExportPort", 0)
    # Ray's number is below 1 if it gathers no metrics.
    return f"http://{host_and_port(host, port)}/metrics" if port > 0 else ""


def _requestable(resources: Mapping[str, float]) -> dict[str, float]:
    """Returns the resources that actors ask for: without memory, and without those that stand for a single node."""
    return {
        name: amount
        for name, amount in sorted(resources.items())
        if name not in ("memory", "object_store_memory") and not name.startswith(("node:", "accelerator_type:"))
    }
