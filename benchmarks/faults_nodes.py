"""Faults of nodes and of the network between them, on hosts of this machine such as the cluster tests have."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import training_runs
from faults_run import Result, Settings, Skipped, recoveries, seconds, steps_lost
from hosts import Host, hosts, obstacle
from ray_hosts import RayHosts
from test_faults_of_hosts import BATCH_STEPS, BOTH, COLLECTOR, Run

UPDATES = 10


class Cluster(NamedTuple):
    """A run on a head with places for the learner and a collector, and another host with a place for a collector."""

    ray: RayHosts
    west: Host
    run: Run


@contextlib.contextmanager
def _training() -> Iterator[Cluster]:
    """A run with a collector on each of two hosts; it ends by Ctrl-C, and its accounts are checked."""
    reason = obstacle()
    if reason is not None:
        raise Skipped(reason)
    with hosts("head", "west") as (head, west):
        ray = RayHosts(head, *BOTH)
        ray.join(west, *COLLECTOR)
        run = Run(ray, *training_runs.MORE_OPTIONS)
        try:
            run.wait_for_updates(1)
            run.wait_for(lambda: len(ray.places("Collector", "ALIVE")) == 2)
            yield Cluster(ray, west, run)
            run.interrupt()
        finally:
            run.process.kill()
        assert run.process.returncode == 130, run.output
        rows = run.rows("metrics.csv")
        assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
        assert [int(row["env_steps"]) for row in rows] == [BATCH_STEPS * number for number in range(1, len(rows) + 1)]
        assert max(float(row["policy_lag"]) for row in rows) <= training_runs.largest_lag


def raylet_killed(settings: Settings, folder: Path) -> Result:
    def lose(cluster: Cluster) -> None:
        for pid in cluster.west.processes("raylet"):
            os.kill(pid, signal.SIGKILL)

    return _node_lost(lose, lambda cluster: cluster.ray.join_again(cluster.west, *COLLECTOR))


def node_off(settings: Settings, folder: Path) -> Result:
    def join_again(cluster: Cluster) -> None:
        cluster.west.power_on()
        cluster.ray.join(cluster.west, *COLLECTOR)

    return _node_lost(lambda cluster: cluster.west.power_off(), join_again)


def network_cut(settings: Settings, folder: Path) -> Result:
    def join_again(cluster: Cluster) -> None:
        cluster.west.heal()
        cluster.ray.join_again(cluster.west, *COLLECTOR)

    return _node_lost(lambda cluster: cluster.west.cut(), join_again)


def _node_lost(lose: Callable[[Cluster], None], join_again: Callable[[Cluster], None]) -> Result:
    """A node goes; the run goes on without it, and uses it when it is back."""
    with _training() as cluster:
        run = cluster.run
        lose(cluster)
        begin = time.monotonic()
        run.wait_for_line(r"collector \d .* was lost: ", "")
        run.wait_for_updates(1)
        without_s = time.monotonic() - begin
        run.wait_for_updates(UPDATES)
        join_again(cluster)
        begin = time.monotonic()
        run.wait_for_line(r"collector \d .* is back after ", "")
        used_s = time.monotonic() - begin
        run.wait_for_updates(UPDATES)
        rows = run.rows("faults.csv")
        num = len(run.rows("metrics.csv"))
    told = f"goes on without it {without_s:.0f} s later, uses it {used_s:.0f} s after it has joined again"
    return Result(
        steps_lost(rows), f"away {seconds(recoveries(rows))}", f"{told}; {num} updates in order, lag within its bound"
    )


def network_slow(settings: Settings, folder: Path) -> Result:
    with _training() as cluster:
        took = []
        for delay_s, loss in ((0.0, 0.0), (0.2, 0.05)):
            with cluster.west.slow_link(delay_s, loss) if delay_s else contextlib.nullcontext():
                begin = time.monotonic()
                cluster.run.wait_for_updates(3 * UPDATES)
                took.append(time.monotonic() - begin)
        assert not cluster.run.rows("faults.csv")
        num = len(cluster.run.rows("metrics.csv"))
    slower = f"an update takes {took[1] / took[0]:.1f} times as long"
    checked = f"{slower}; {num} updates in order, lag within its bound, nothing lost"
    return Result(0, "-", checked)
