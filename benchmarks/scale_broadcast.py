"""Weights from one put to every collector: seconds, and bytes that each node takes in, on one node and on several."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import ray
from ray._private.internal_api import node_stats
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from scale_workers import Reader

TIMEOUT_S = 300.0
# Ray frees what nobody refers to once a second, and the figures of a node are as old.
FREED_WITHIN_S = 2.5
STORE_BYTES = 600 * 2**20


class Broadcast(NamedTuple):
    """What a broadcast took.

    Attributes:
        nodes: Nodes that have readers.
        readers: Readers on each.
        size_bytes: Size of the weights.
        put_s: Seconds of the put, the median.
        no_op_s: Seconds until every reader has answered a call without weights, the median.
        apply_s: Seconds from the put's end until every reader has copied the weights, the median.
        bytes_a_node: Bytes that a node's object store holds of the weights: the most of all nodes, with all readers.
        num_copies: Nodes that hold them.
    """

    nodes: int
    readers: int
    size_bytes: int
    put_s: float
    no_op_s: float
    apply_s: float
    bytes_a_node: int
    num_copies: int


def measure(
    node_counts: Sequence[int], reader_counts: Sequence[int], sizes: Sequence[int], repeats: int
) -> Iterator[Broadcast]:
    """Measures every size with every number of nodes, and of readers on each.

    The nodes are raylets of this machine: each has its own object store, and what moves between two of them goes
    through a socket, but no network slows it.

    Args:
        node_counts: Numbers of nodes, rising; there is no Ray when this is called, nor afterwards.
        reader_counts: Numbers of readers of a node, rising.
        sizes: Bytes of the weights.
        repeats: Times that each is measured.
    """
    node = {"num_cpus": 0, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        for count in node_counts:
            while len(cluster.list_all_nodes()) < count:
                cluster.add_node(**node)
            cluster.wait_for_nodes()
            for size in sizes:
                yield from _measure(reader_counts, size, repeats)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _measure(reader_counts: Sequence[int], size: int, repeats: int) -> Iterator[Broadcast]:
    nodes = [item for item in ray.nodes() if item["Alive"]]
    readers = [
        [
            ray.remote(Reader)
            .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(item["NodeID"], soft=False))
            .remote(size)
            for _ in range(max(reader_counts))
        ]
        for item in nodes
    ]
    everybody = [reader for of_node in readers for reader in of_node]
    ray.get([reader.ping.remote() for reader in everybody], timeout=TIMEOUT_S)
    for count in reader_counts:
        asked = [reader for of_node in readers for reader in of_node[:count]]
        times = np.array([_time(asked, size) for _ in range(repeats + 1)])[1:]
        num_bytes, num_copies = _copies(asked, size, nodes)
        yield Broadcast(len(nodes), count, size, *np.median(times, axis=0).tolist(), num_bytes, num_copies)
    for reader in everybody:
        ray.kill(reader)


def _time(readers: Sequence[Any], size: int) -> tuple[float, float, float]:
    weights = np.ones(size // 4, np.float32)
    start = time.perf_counter()
    ray.get([reader.ping.remote() for reader in readers], timeout=TIMEOUT_S)
    answered = time.perf_counter()
    reference = ray.put(weights)
    put = time.perf_counter()
    copied = ray.get([reader.apply.remote(reference) for reader in readers], timeout=TIMEOUT_S)
    if set(copied) != {weights.nbytes}:
        raise RuntimeError("a reader has not copied all of the weights")
    return put - answered, answered - start, time.perf_counter() - put


def _copies(readers: Sequence[Any], size: int, nodes: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Bytes in the fullest node's object store while all readers have the weights, and the nodes that hold them."""
    time.sleep(FREED_WITHIN_S)
    before = [_stored_bytes(node) for node in nodes]
    reference = ray.put(np.ones(size // 4, np.float32))
    ray.get([reader.apply.remote(reference) for reader in readers], timeout=TIMEOUT_S)
    time.sleep(FREED_WITHIN_S)
    stored = [_stored_bytes(node) - earlier for node, earlier in zip(nodes, before, strict=True)]
    where = ray.experimental.get_object_locations([reference])[reference]
    return max(stored), len(where["node_ids"])


def _stored_bytes(node: dict[str, Any]) -> int:
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], False)
    return int(stats.store_stats.object_store_bytes_used)
