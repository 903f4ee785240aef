"""Seconds from publishing weights until every collector has acknowledged them, beside what moving the bytes costs.

Sync is what a run does after every update: pack the policy's variables, put the snapshot into the object store, have
every collector apply it (real collectors, with a real policy), and wait for all acknowledgements. As in a run,
collectors act by the policy's program and have no TensorFlow. The copy into the program, which a run makes with the
next action, is made and counted here.

The floor is the least that any way of doing this must do: put one contiguous array of the same size into the object
store, and make one call to each actor, which copies the array into memory that it already owns. Its actors hold nothing
but that memory.

Sync and floor take turns within one run, so that both see the same machine. The goal is a median sync of at most 1.5
times the median floor, for every size and number of collectors.

    python benchmarks/weight_sync.py
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import numpy as np
import ray
from reporting import met, print_header, print_table
from sized_policy import SizedPolicyFactory

from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.weights import Acknowledgement, Weights, WeightsPacker
from workers.actors import start_collector
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.inference.program_source import ProgramSource

GOAL = 1.5
TIMEOUT_S = 300.0
NUM_WARM_UPS = 3
SIZES = {"10 kB": 10_000, "1 MB": 1_000_000, "10 MB": 10_000_000, "100 MB": 100_000_000}
REPEATS = {"10 kB": 200, "1 MB": 200, "10 MB": 100, "100 MB": 30}


class Copier:
    """The floor's actor: memory of its own and one copy into it.

    Args:
        num_bytes: Size of the memory.
    """

    def __init__(self, num_bytes: int) -> None:
        self._memory = np.ones(num_bytes // 4, np.float32)

    def copy(self, array: np.ndarray) -> int:
        """Copies an array of the same size; returns its size."""
        np.copyto(self._memory, array)
        return self._memory.nbytes


def measure(size: int, collector_counts: list[int], repeats: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Sync and floor of one size of weights.

    Args:
        size: Bytes of the weights, about.
        collector_counts: Numbers of collectors; as many as the largest are started.
        repeats: Times that each is measured.

    Returns:
        For each number of collectors: the number, the syncs' and the floors' seconds.
    """
    environment_factory = EnvironmentFactory("CartPole-v1")
    policy_factory = SizedPolicyFactory(size)
    policy = policy_factory.build(*probe(environment_factory))
    packer = WeightsPacker(policy)
    program = ray.put(ProgramBuilder(policy, [1], "collect").program)
    source = ProgramSource((program,), policy_factory, TIMEOUT_S)
    most = max(collector_counts)
    collectors = [
        start_collector(CollectorConfig(index, index, 1, 1, seed=0), environment_factory, source)
        for index in range(most)
    ]
    array = np.ones(packer.pack(0, 0).num_bytes // 4, np.float32)
    copiers = [ray.remote(Copier).options(num_cpus=0).remote(array.nbytes) for _ in range(most)]
    ray.get([actor.ping.remote() for actor in collectors], timeout=TIMEOUT_S)
    version = 0
    results = []
    for count in collector_counts:
        syncs, floors = [], []
        for _ in range(NUM_WARM_UPS + repeats):
            version += 1
            syncs.append(sync_s(packer, version, collectors[:count]))
            floors.append(floor_s(array, copiers[:count]))
        results.append((count, np.array(syncs[NUM_WARM_UPS:]), np.array(floors[NUM_WARM_UPS:])))
    for actor in [*collectors, *copiers]:
        ray.kill(actor)
    return results


def sync_s(packer: WeightsPacker, version: int, collectors: list[Any]) -> float:
    """Seconds of one sync: pack, put, apply everywhere, acknowledgements."""
    start = time.perf_counter()
    reference = ray.put(packer.pack(0, version))
    acknowledgements = ray.get([actor.__ray_call__.remote(apply, reference) for actor in collectors], timeout=TIMEOUT_S)
    seconds = time.perf_counter() - start
    if not all(item.applied and item.version == version for item in acknowledgements):
        raise RuntimeError(f"not every collector applied version {version}: {acknowledgements}")
    return seconds


def apply(collector: Collector, weights: Weights) -> Acknowledgement:
    """Applies weights in a collector, and copies them into the program that acts."""
    acknowledgement = collector.apply_weights(weights)
    collector.policy.refresh()
    return acknowledgement


def floor_s(array: np.ndarray, copiers: list[Any]) -> float:
    """Seconds of one floor: put, and a copy in each actor."""
    start = time.perf_counter()
    reference = ray.put(array)
    ray.get([actor.copy.remote(reference) for actor in copiers], timeout=TIMEOUT_S)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="sizes of the weights")
    parser.add_argument("--collectors", nargs="+", type=int, default=[1, 2, 4], help="numbers of collectors")
    parser.add_argument("--repeat-share", type=float, default=1.0, help="share of the usual number of repeats")
    arguments = parser.parse_args()
    print_header("weight sync: publish until every collector has acknowledged", ["ray", "tensorflow", "numpy"])
    ray.init(
        address="local",
        # Collectors ask for a CPU each; here four may share two cores.
        num_cpus=max(arguments.collectors),
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level="error",
    )
    rows, missed = [], 0
    for name in arguments.sizes:
        repeats = max(3, round(REPEATS[name] * arguments.repeat_share))
        for count, syncs, floors in measure(SIZES[name], arguments.collectors, repeats):
            ratio = float(np.median(syncs) / np.median(floors))
            missed += ratio > GOAL
            quantiles = [f"{1000 * np.percentile(times, q):.1f} ms" for times in (syncs, floors) for q in (50, 99)]
            rows.append([name, str(count), str(repeats), *quantiles, f"{ratio:.2f}", met(ratio <= GOAL)])
            print(f"measured {name}, {count} collectors: ratio {ratio:.2f}", flush=True)
    ray.shutdown()
    columns = ["weights", "collectors", "repeats", "sync p50", "sync p99", "floor p50", "floor p99", "ratio", "goal"]
    print_table(columns, rows)
    print(f"goal: sync p50 at most {GOAL} x floor p50: {len(rows) - missed} of {len(rows)} met")


if __name__ == "__main__":
    main()
