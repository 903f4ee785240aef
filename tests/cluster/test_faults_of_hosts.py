"""Hosts that fail while a training run goes on: the run goes on with the others, and uses them once they are back."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hosts import HOME, Host, hosts, obstacle
from ray_hosts import RayHosts

pytestmark = [pytest.mark.slow, pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))]

COLLECTORS, SLOTS, STEPS = 2, 4, 16
BATCH_STEPS = COLLECTORS * SLOTS * STEPS
TRAIN = ("train", "--env", "endless_env:EndlessEnv", "--vectorization", "sync", "--collectors", f"1:{COLLECTORS}")
TRAIN += (
    "--envs-per-collector",
    str(SLOTS),
    "--rollout-steps",
    str(STEPS),
    "--total-steps",
    "1000000000",
    "--no-jit-compile",
)
TRAIN += ("--target-return", "None", "--ppo.num-minibatches", "2", "--ppo.num-epochs", "2", "--run-dir", "run")
TRAIN += ("--checkpoint-every", "10", "--network.actor-units", "8", "--ppo.value-units", "8")
COLLECTOR = ("--num-cpus=1", '--resources={"collector": 1}')
BOTH = ("--num-cpus=1", '--resources={"collector": 1, "learner": 1}')
LAG = ("--max-policy-lag", "2")


class Run:
    """A training run on a cluster, with the driver on its head."""

    def __init__(self, ray: RayHosts, *options: str) -> None:
        self._ray = ray
        self.process: subprocess.Popen[str] = ray.start(
            ray.head, "distpolicy", *TRAIN, *options, "--address", ray.address
        )
        self._lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def rows(self, name: str) -> list[dict[str, str]]:
        """The whole rows of a file of its run directory."""
        path = self._ray.head.path(HOME) / "run" / name
        return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until something is so; it has to become so while the run goes on."""
        while not condition():
            assert self.process.poll() is None, self.output
            time.sleep(0.1)

    def wait_for_updates(self, number: int) -> None:
        """Waits for more updates."""
        before = len(self.rows("metrics.csv"))
        self.wait_for(lambda: len(self.rows("metrics.csv")) >= before + number)

    def wait_for_line(self, pattern: str, since: str) -> None:
        """Waits until it has told something more since its output was that."""
        self.wait_for(lambda: re.search(pattern, self.output[len(since) :]) is not None)

    def interrupt(self) -> None:
        """As Ctrl-C."""
        for pid in self._ray.head.processes("distpolicy"):
            os.kill(pid, signal.SIGINT)
        self.process.wait()


class Cluster:
    """A head for the driver alone, and two hosts with a collector's place, of which the second has the learner's."""

    def __init__(self, head: Host, west: Host, east: Host, options: tuple[str, ...]) -> None:
        self.west, self.east, self.options = west, east, options
        self.ray = RayHosts(head, "--num-cpus=0")
        self.ray.join(west, *COLLECTOR)
        self.ray.join(east, *BOTH)
        self.run = Run(self.ray, *options)

    def collectors(self) -> list[str]:
        """Addresses of the hosts on which there is a collector."""
        return self.ray.places("Collector", "ALIVE")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((), id="lock step"),
        pytest.param((*LAG, "--rollout-order", "arrival"), id="lag, by arrival"),
        pytest.param(LAG, id="lag", marks=pytest.mark.release),
    ],
)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with hosts("head", "west", "east") as (head, west, east):
        cluster = Cluster(head, west, east, request.param)
        cluster.run.wait_for_updates(1)
        cluster.run.wait_for(lambda: len(cluster.collectors()) == COLLECTORS)
        yield cluster


def test_a_run_goes_on_without_a_host_whose_raylet_is_killed_and_uses_it_once_it_is_back(cluster: Cluster) -> None:
    before = cluster.run.output
    for pid in cluster.west.processes("raylet"):
        os.kill(pid, signal.SIGKILL)
    goes_on_without_west(cluster, before)


def test_a_run_goes_on_without_a_host_whose_link_is_cut_and_uses_it_once_it_is_mended(cluster: Cluster) -> None:
    before = cluster.run.output
    cluster.west.cut()
    goes_on_without_west(cluster, before)


def goes_on_without_west(cluster: Cluster, before: str) -> None:
    cluster.run.wait_for_line(r"collector \d .* was lost: ", before)
    cluster.run.wait_for_updates(5)
    assert cluster.collectors() == [cluster.east.address]
    cluster.west.heal()
    cluster.ray.join_again(cluster.west, *COLLECTOR)
    cluster.run.wait_for_line(r"collector \d .* is back after ", before)
    cluster.run.wait_for_updates(5)
    assert cluster.collectors() == [cluster.west.address, cluster.east.address]


def test_a_run_waits_for_the_host_of_its_learner_and_goes_on_from_the_newest_checkpoint(cluster: Cluster) -> None:
    before = cluster.run.output
    cluster.run.wait_for_updates(10)
    cluster.east.power_off()
    cluster.run.wait_for_line("learner was lost: ", before)
    cluster.east.power_on()
    cluster.ray.join(cluster.east, *BOTH)
    cluster.run.wait_for_line("learner is back after ", before)
    cluster.run.wait_for_line(r"collector \d .* is back after ", before)
    cluster.run.wait_for_updates(5)
    assert cluster.collectors() == [cluster.west.address, cluster.east.address]


def test_every_update_has_learned_from_one_whole_batch_and_the_faults_are_on_record(cluster: Cluster) -> None:
    cluster.run.interrupt()
    assert cluster.run.process.returncode == 130, cluster.run.output
    rows = cluster.run.rows("metrics.csv")
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    assert [int(row["env_steps"]) for row in rows] == [BATCH_STEPS * number for number in range(1, len(rows) + 1)]
    lags = {float(row["policy_lag"]) for row in rows}
    # By arrival, collectors that wait for the learner may act by the newest weights.
    assert lags == {0.0} if not cluster.options else 0.0 < max(lags) <= 2.0
    faults = cluster.run.rows("faults.csv")
    lost = sorted(fault["what"].split(" ")[0] for fault in faults)
    # The second if the host of the learner was lost, too.
    assert lost in (["collector"] * 2, ["collector"] * 3 + ["learner"])
    assert all(float(fault["recovery_s"]) > 0.0 for fault in faults)
