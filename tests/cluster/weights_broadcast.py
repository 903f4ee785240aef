"""Broadcasts weights from a cluster's head to light collectors, all on one node: ADDRESS NODE COLLECTORS VERSIONS."""

from __future__ import annotations

import sys

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distpolicy.weights import VariableLayout, Weights, checksum

NUM_BYTES = 4_000_000


class LightCollector:
    """What a collector does with weights, and nothing else of it."""

    def apply_weights(self, weights: Weights) -> tuple[int, int]:
        """Reads them; their generation and version."""
        weights.verify()
        return weights.generation, weights.version


def weights_of(version: int) -> Weights:
    buffers = {"kernel": np.random.default_rng(version).random(NUM_BYTES // 4, np.float32)}
    return Weights(
        0, version, (VariableLayout("kernel", (NUM_BYTES // 4,), "float32", True),), buffers, checksum(buffers.values())
    )


def main(address: str, node_address: str, num_collectors: int, num_versions: int) -> None:
    ray.init(address=address, log_to_driver=False)
    node = next(node for node in ray.nodes() if node["Alive"] and node["NodeManagerAddress"] == node_address)
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    options = {"num_cpus": 0, "scheduling_strategy": there}
    collectors = [ray.remote(LightCollector).options(**options).remote() for _ in range(num_collectors)]
    for version in range(num_versions):
        reference = ray.put(weights_of(version))
        acknowledged = ray.get([collector.apply_weights.remote(reference) for collector in collectors], timeout=300)
        assert acknowledged == [(0, version)] * num_collectors


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
