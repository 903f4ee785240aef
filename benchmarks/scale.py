"""How far the driver scales: what it costs for each collector, where more of them bring no more, and weights' way.

- driver: real actors on this machine that return canned rollouts, up to 256 of them on one node, and a learner that
  learns nothing, under the driver of training, in lock step and with ``--async`` beside it with a policy lag of 2 in
  both orders: CPU seconds of the driver's process and of
  Ray's daemons for each rollout, the driver's memory, rollouts a second, and how many cores are busy with it all
  (``scale_driver.py``). Rollouts and weights are once as small as CartPole's, which travel with messages, by way of the
  driver; and once of 1 MB, of which the driver only moves references. Metrics and checkpoints are not written. ``cores
  idle`` is what the actors take before anything is asked of them;
- weights: one put, and readers on one node and on several that copy it: seconds, and bytes that each node takes in
  (``scale_broadcast.py``). The nodes are raylets of this machine, with an object store each;
- 1,000 machines: projected, not measured: straight lines through the measured figures of the driver, and bytes through
  a network card. The table says which of them would be the first to hold up an update.

    python benchmarks/scale.py
    python benchmarks/scale.py --only driver --most-collectors 64
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import scale_broadcast
import scale_driver
from reporting import met, print_header, print_table
from scale_driver import DriverCost, Load

from launch.cluster import session

LOADS = (Load("small", 40_000, 40_000), Load("large", 1_000_000, 1_000_000))
ASYNC_LOADS = (
    Load("lock step", 40_000, 40_000),
    Load("lag 2", 40_000, 40_000, 2),
    Load("lag 2, by arrival", 40_000, 40_000, 2, "arrival"),
)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SIZES = {"40 kB": 40_000, "1 MB": 1_000_000, "10 MB": 10_000_000, "100 MB": 100_000_000}
NODES = (1, 2, 4)
READERS = (1, 2, 4, 8)
# More collectors that bring less than this are where it stops scaling.
GAIN = 1.1
MACHINES = 1000
NETWORK_BYTES_A_SECOND = 10e9 / 8
PARTS = ("driver", "weights")


def measure_driver(loads: Sequence[Load], most: int, num_rollouts: int, turns: int = 1) -> dict[Load, list[DriverCost]]:
    """The driver with each load, and their tables: of several turns, that with the median of the driver's CPU."""
    counts = [count for count in COUNTS if count <= most]
    found: dict[Load, dict[int, list[DriverCost]]] = {load: defaultdict(list) for load in loads}
    for load, cost in scale_driver.measure([*loads] * turns, counts, num_rollouts):
        found[load][cost.collectors].append(cost)
        print(
            f"measured {load.name}, {cost.collectors} collectors: {cost.rollouts_a_second:.0f} rollouts/s", flush=True
        )
    measured = {
        load: [sorted(costs, key=lambda cost: cost.driver_cpu_s)[len(costs) // 2] for costs in of_load.values()]
        for load, of_load in found.items()
    }
    for load, costs in measured.items():
        _print_driver(load, costs)
    return measured


def _print_beside_lock_step(measured: Mapping[Load, Sequence[DriverCost]]) -> None:
    """The driver's CPU of a rollout with a lag, as a share of that in lock step."""
    base, *others = measured
    rows = []
    for place, cost in enumerate(measured[base]):
        row = [str(cost.collectors), f"{1e3 * cost.driver_cpu_s / cost.collectors:.2f} ms"]
        for load in others:
            ratio = measured[load][place].driver_cpu_s / cost.driver_cpu_s
            row += [f"{ratio:.2f}", met(ratio <= 1.0)]
        rows.append(row)
    columns = ["collectors", "driver CPU/rollout, lock step"]
    for load in others:
        columns += [f"{load.name}: x", "goal: 1"]
    print_table(columns, rows)


def _print_driver(load: Load, costs: Sequence[DriverCost]) -> None:
    columns = ["collectors", "updates", "update", "rollouts/s", "driver CPU/rollout", "driver CPU/update"]
    columns += [
        "driver of a core",
        "raylet CPU/rollout",
        "GCS CPU/rollout",
        "cores busy",
        "cores idle",
        "driver memory",
    ]
    print(f"\nmeasured: {load.name}: rollouts of {load.rollout_bytes:,} bytes, weights of {load.weights_bytes:,} bytes")
    print_table(columns, [_row(cost) for cost in costs])
    best = _plateau(costs)
    print(
        f"stops scaling on this machine at {best.collectors} collectors: {best.rollouts_a_second:.0f} rollouts/s; "
        f"{best.cores:.1f} of {os.cpu_count()} cores are busy, the driver with {best.driver_cpu_s / best.update_s:.0%} "
        "of one"
    )
    last = costs[-1]
    print(f"idle, each actor takes {last.idle_cores / (last.collectors + 1):.4f} cores for Ray's own threads")


def _row(cost: DriverCost) -> list[str]:
    each = cost.collectors
    return [
        str(cost.collectors),
        str(cost.updates),
        f"{1e3 * cost.update_s:.1f} ms",
        f"{cost.rollouts_a_second:.0f}",
        f"{1e3 * cost.driver_cpu_s / each:.2f} ms",
        f"{1e3 * cost.driver_cpu_s:.1f} ms",
        f"{cost.driver_cpu_s / cost.update_s:.0%}",
        f"{1e3 * cost.raylet_cpu_s / each:.2f} ms",
        f"{1e3 * cost.gcs_cpu_s / each:.2f} ms",
        f"{cost.cores:.1f}",
        f"{cost.idle_cores:.2f}",
        f"{cost.memory_bytes / 2**20:.0f} MiB",
    ]


def _plateau(costs: Sequence[DriverCost]) -> DriverCost:
    """The first after which twice the collectors bring no tenth more, whatever comes later."""
    best = costs[0]
    for cost in costs[1:]:
        if cost.rollouts_a_second >= GAIN * best.rollouts_a_second:
            best = cost
    return best


def measure_weights(sizes: Sequence[str], nodes: Sequence[int], repeats: int) -> None:
    """Broadcasts, and their table."""
    rows = []
    results = list(scale_broadcast.measure(nodes, READERS, [SIZES[name] for name in sizes], repeats))
    names = {size: name for name, size in SIZES.items()}
    for item in results:
        total = item.nodes * item.readers
        rows.append(
            [
                names[item.size_bytes],
                str(item.nodes),
                str(item.readers),
                f"{1e3 * item.put_s:.1f} ms",
                f"{1e3 * item.no_op_s:.1f} ms",
                f"{1e3 * item.apply_s:.1f} ms",
                f"{1e3 * item.apply_s / total:.1f} ms",
                f"{item.bytes_a_node / item.size_bytes:.2f} x",
                f"{item.num_copies} of {item.nodes}",
            ]
        )
    print("\nmeasured: weights, put once (medians)")
    columns = ["weights", "nodes", "readers a node", "put", "calls alone", "until all have copied", "of that a reader"]
    print_table([*columns, "bytes a node / size", "nodes with a copy"], rows)
    for name in sizes:
        of_size = [item for item in results if item.size_bytes == SIZES[name]]
        call_s, node_s = _broadcast_fit(of_size)
        print(f"{name}: {1e3 * call_s:.2f} ms for each reader and {1e3 * node_s:.2f} ms for each further node")


def _broadcast_fit(results: Sequence[scale_broadcast.Broadcast]) -> tuple[float, float]:
    """Seconds for each reader, and for each node but the one of the put."""
    terms = [[1.0, item.nodes * item.readers, item.nodes - 1] for item in results]
    _, reader_s, node_s = np.linalg.lstsq(np.array(terms), np.array([item.apply_s for item in results]))[0]
    return float(reader_s), float(node_s)


def project(measured: Mapping[Load, Sequence[DriverCost]]) -> None:
    """The table of 1,000 machines."""
    rows = []
    for load, costs in measured.items():
        # Fewer are mostly what an update costs whatever the number; more, of a machine that idle actors keep busy.
        used = [cost for cost in costs if cost.collectors >= 8 and cost.idle_cores <= 0.5 * (os.cpu_count() or 1)]
        if len(used) < 3:
            continue
        counts = [cost.collectors for cost in used]
        cpu_s, base_s = np.polyfit(counts, [cost.driver_cpu_s for cost in used], 1)
        memory, base_memory = np.polyfit(counts, [cost.memory_bytes for cost in used], 1)
        print(
            f"{load.name}: driver CPU of an update = {1e3 * base_s:.1f} ms + {1e3 * cpu_s:.3f} ms x collectors; memory "
            f"= {base_memory / 2**20:.0f} MiB + {memory / 2**20:.2f} MiB x collectors (fits of {counts} collectors)"
        )
        each = [1e3 * cost.driver_cpu_s / cost.collectors for cost in costs if cost.collectors >= 8]
        print(f"{load.name}: of all that were measured from 8 on, {min(each):.2f} to {max(each):.2f} ms a rollout")
        for number in (1, 8):
            collectors = MACHINES * number
            seconds = {
                "driver CPU": base_s + cpu_s * collectors,
                "rollouts into the learner": collectors * load.rollout_bytes / NETWORK_BYTES_A_SECOND,
                "weights out of the learner": MACHINES * load.weights_bytes / NETWORK_BYTES_A_SECOND,
            }
            first = max(seconds, key=lambda name: seconds[name])
            rows.append(
                [
                    f"{load.name}, {number} a machine",
                    f"{collectors:,}",
                    *(f"{value:.2f} s" for value in seconds.values()),
                    f"{(base_memory + memory * collectors) / 2**20:,.0f} MiB",
                    f"{first}: {seconds[first]:.2f} s",
                    f"{collectors / seconds[first]:,.0f}",
                ]
            )
    if not rows:
        return
    print(f"\nprojected for {MACHINES:,} machines, an update, from those lines and 10 Gbit/s at the learner's machine;")
    print("each machine takes the weights in once; that all of them come from the learner's is the worst case")
    columns = ["load", "collectors", "driver CPU", "rollouts in", "weights out", "driver memory", "held up by"]
    print_table([*columns, "at most rollouts/s"], rows)
    print("collectors whose rollouts take less than what holds an update up would wait: make rollouts longer")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--async", action="store_true", dest="lags", help="measure the driver with a policy lag, too")
    parser.add_argument("--most-collectors", type=int, default=max(COUNTS), help="collectors to go up to")
    parser.add_argument("--rollouts", type=int, default=2000, help="rollouts to measure with each number of collectors")
    parser.add_argument("--turns", type=int, default=1, help="turns of each load, of which the median counts")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="sizes of the weights")
    parser.add_argument("--nodes", nargs="+", type=int, default=list(NODES), help="numbers of nodes")
    parser.add_argument("--repeats", type=int, default=20, help="broadcasts of each kind")
    arguments = parser.parse_args()
    print_header("scale: the driver over many collectors, and weights to all of them", ["ray", "numpy"])
    measured: dict[Load, list[DriverCost]] = {}
    loads = ASYNC_LOADS if arguments.lags else LOADS
    if "driver" in arguments.only:
        with session.connected(None):
            measured = measure_driver(loads, arguments.most_collectors, arguments.rollouts, arguments.turns)
            if arguments.lags:
                _print_beside_lock_step(measured)
    if "weights" in arguments.only:
        measure_weights(arguments.sizes, arguments.nodes, arguments.repeats)
    project(measured)


if __name__ == "__main__":
    main()
