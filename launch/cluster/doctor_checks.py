"""The checks of the doctor command. This process must have joined the Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import ray
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distpolicy.errors import DistPolicyError
from launch.cluster import authentication, session
from launch.cluster.finding import Finding
from launch.cluster.placement import Node, total_resources
from launch.config.cluster import DoctorConfig
from launch.config.common import counted
from launch.supervision import calls
from workers import node_check

WEIGHTS_BYTES = 1_000_000
# Ray stops writing objects to a disk that is fuller than this.
FULL_DISK = 0.95

_POLL_S = 0.5
# Extra time for the answer of a node whose check took the whole timeout.
_ANSWER_S = 10.0


def check_cluster(config: DoctorConfig) -> Iterator[Finding]:
    """Runs all checks, the most basic ones first.

    Args:
        config: The settings of the command.

    Yields:
        The findings.
    """
    # The source of the check is sent along, since a node may not have this project installed.
    ray.cloudpickle.register_pickle_by_value(node_check)
    try:
        if config.address is not None:
            yield check_authentication(ray.get_runtime_context().gcs_address)
        nodes, finding = wait_for_resources(config)
        yield finding
        reports: dict[str, dict[str, Any]] = {}
        for node, report in zip(nodes, _reports(nodes, config.timeout_s), strict=True):
            if isinstance(report, DistPolicyError):
                yield Finding("FAIL", f"node {node.name}", str(report))
                continue
            reports[node.name] = report
            yield from judge_node(node, report)
        yield judge_versions({name: report["versions"] for name, report in reports.items()})
        yield from check_weights([node for node in nodes if node.name in reports], config.timeout_s)
    finally:
        ray.cloudpickle.unregister_pickle_by_value(node_check)


def check_authentication(address: str) -> Finding:
    """Checks that only those who have the token can use the cluster.

    Args:
        address: ``HOST:PORT`` of the head's control store. It is asked without a token, since a cluster without
            authentication takes a token, too, and ignores it.
    """
    if authentication.is_on() and not _answers_anybody(address):
        return Finding("ok", "authentication", "by token")
    advice = "run ray get-auth-token --generate and start Ray with RAY_AUTH_MODE=token"
    return Finding("warn", "authentication", f"none: everyone who reaches the head can run code on it; {advice}")


def _answers_anybody(address: str) -> bool:
    grpc = gcs_service_pb2_grpc.grpc  # The one that Ray's own stubs use.
    with grpc.insecure_channel(address) as channel:
        stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            stub.GetAllNodeInfo(gcs_service_pb2.GetAllNodeInfoRequest(), timeout=_ANSWER_S)
        except grpc.RpcError:  # It asks for a token, or for a certificate.
            return False
        return True


def wait_for_resources(config: DoctorConfig) -> tuple[list[Node], Finding]:
    """Waits until the expected nodes, CPUs and GPUs have joined, or the deadline is over.

    Args:
        config: The settings of the command.

    Returns:
        The nodes that have joined, and the finding whether they are enough.
    """
    start = time.monotonic()
    while True:
        nodes = session.nodes()
        totals = total_resources(nodes)
        there = {"nodes": len(nodes), "CPUs": int(totals.get("CPU", 0)), "GPUs": int(totals.get("GPU", 0))}
        wanted = {"nodes": config.nodes, "CPUs": config.cpus, "GPUs": config.gpus}
        missing = any(there[name] < (number or 0) for name, number in wanted.items())
        waited_s = time.monotonic() - start
        if not missing:
            shown = ", ".join(f"{name} {number}" for name, number in there.items())
            return nodes, Finding("ok", "resources", f"{shown}, after {waited_s:.1f} s")
        if waited_s >= config.deadline_s:
            shown = ", ".join(
                f"{name} {there[name]} of {number}" for name, number in wanted.items() if number is not None
            )
            return nodes, Finding("FAIL", "resources", f"{shown} after {waited_s:.0f} s")
        time.sleep(_POLL_S)


def _on(node: Node, function: Any) -> Any:
    """Returns the function as a task that runs on the given node, and does not wait for a free CPU."""
    strategy = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
    return ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)


def _reports(nodes: Sequence[Node], timeout_s: float) -> Iterator[dict[str, Any] | DistPolicyError]:
    """Checks all nodes at the same time, and yields the report or the error of each node in order."""
    deadline = time.monotonic() + timeout_s + _ANSWER_S
    references = [_on(node, node_check.check_node).remote(timeout_s) for node in nodes]
    for reference in references:
        try:
            yield calls.get(reference, max(deadline - time.monotonic(), 1.0))
        except DistPolicyError as error:
            yield error


def judge_node(node: Node, report: dict[str, Any]) -> Iterator[Finding]:
    """Judges the report of one node.

    Args:
        node: The node.
        report: What :func:`workers.node_check.check_node` returned there.

    Yields:
        The findings.
    """
    subject = f"node {node.name}"
    if report["failure"]:
        yield Finding("FAIL", subject, report["failure"])
    else:
        yield Finding("ok", subject, f"every import, in {report['import_s']:.1f} s")
    if report["num_gpus"] is not None:
        yield _judge_gpus(subject, node.total.get("GPU", 0.0), report["num_gpus"])
    folder, free, total = report["disk"]
    full = 1.0 - free / total
    text = f"{_gib(free)} of {_gib(total)} free for {folder}"
    if full > FULL_DISK:
        yield Finding("FAIL", subject, f"{text}: Ray needs more than {1 - FULL_DISK:.0%}")
    else:
        yield Finding("ok", subject, text)
    yield _judge_shared_memory(subject, node.object_store_bytes, report["shared_memory"])


def _judge_gpus(subject: str, in_ray: float, in_tensorflow: int) -> Finding:
    text = f"GPUs: {in_ray:g} in Ray, {in_tensorflow} in TensorFlow"
    if in_ray > in_tensorflow:
        return Finding("FAIL", subject, f"{text}: install distpolicy[gpu] there, and check the driver with nvidia-smi")
    if in_ray < in_tensorflow:
        return Finding("warn", subject, f"{text}: start Ray there with --num-gpus to use them")
    return Finding("ok", subject, text)


def _judge_shared_memory(subject: str, object_store_bytes: int, shared: tuple[int, int] | None) -> Finding:
    if shared is None:
        return Finding("warn", subject, f"no {node_check.SHARED_MEMORY}: objects are kept on disk, which is slow")
    text = f"{_gib(shared[1])} of {node_check.SHARED_MEMORY} for an object store of {_gib(object_store_bytes)}"
    if shared[1] < object_store_bytes:
        return Finding("warn", subject, f"{text}: objects are kept on disk, which is slow (docker: --shm-size)")
    return Finding("ok", subject, text)


def judge_versions(versions: dict[str, dict[str, str | None]]) -> Finding:
    """Checks that all nodes have the same versions.

    Args:
        versions: For each node's name, the version of each package; None for a package that is not installed.
    """
    differing = []
    for package in ("python", *node_check.PACKAGES):
        found: dict[str, list[str]] = {}
        for node, has in versions.items():
            found.setdefault(has[package] or "missing", []).append(node)
        if len(found) > 1 or "missing" in found:
            shown = ", ".join(f"{version} on {', '.join(where)}" for version, where in found.items())
            differing.append(f"{package} is {shown}")
    if differing:
        return Finding("FAIL", "versions", "; ".join(differing))
    if not versions:
        return Finding("FAIL", "versions", "unknown, since no node has answered")
    first = next(iter(versions.values()))
    shown = ", ".join(f"{name} {version}" for name, version in first.items())
    return Finding("ok", "versions", f"{shown} on {counted(len(versions), 'node')}")


def check_weights(nodes: Sequence[Node], timeout_s: float) -> Iterator[Finding]:
    """Puts weights into the object store once, and checks that each node can read them, one after the other.

    Args:
        nodes: The nodes.
        timeout_s: Seconds that each node may take.

    Yields:
        The findings.
    """
    weights = np.random.default_rng(0).bytes(WEIGHTS_BYTES)
    expected = node_check.checksum(weights)
    reference = ray.put(np.frombuffer(weights, np.uint8))
    for node in nodes:
        start = time.monotonic()
        try:
            read = calls.get(_on(node, node_check.checksum).remote(reference), timeout_s)
        except DistPolicyError as error:
            yield Finding("FAIL", f"node {node.name}", f"weights: {error}")
            continue
        took_ms = 1000.0 * (time.monotonic() - start)
        if read == expected:
            yield Finding("ok", f"node {node.name}", f"weights of {WEIGHTS_BYTES / 1e6:g} MB there in {took_ms:.0f} ms")
        else:
            yield Finding("FAIL", f"node {node.name}", "weights arrived with another checksum")


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
