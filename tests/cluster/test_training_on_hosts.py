"""Training on a Ray cluster of three hosts, with roles that its nodes declare, as a user starts it."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hosts import HERE, HOME, Host, hosts, obstacle
from ray_hosts import RayHosts
from weights_broadcast import NUM_BYTES

pytestmark = [pytest.mark.slow, pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))]

TRAIN = ("train", "--collectors", "3", "--envs-per-collector", "4", "--rollout-steps", "16", "--total-steps", "960")
TRAIN += ("--ppo.num-minibatches", "2", "--ppo.num-epochs", "2", "--no-jit-compile", "--eval-episodes", "0")
TRAIN += ("--network.actor-units", "8", "--ppo.value-units", "8")
DELAY_S = 0.2


class Cluster(NamedTuple):
    """Three hosts with Ray, of which the last has the learner's place, and one beside them."""

    ray: RayHosts
    head: Host
    west: Host
    east: Host
    client: Host


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with hosts("head", "west", "east", "client") as (head, west, east, client):
        ray = RayHosts(head, "--num-cpus=1", '--resources={"collector": 1}')
        ray.join(west, "--num-cpus=1", '--resources={"collector": 1}')
        # No GPU is there, but Ray and the placement know of those that are declared and no others.
        ray.join(east, "--num-cpus=1", "--num-gpus=1", '--resources={"collector": 1, "learner": 1}')
        ray.give_token(client)
        yield Cluster(ray, head, west, east, client)


@pytest.fixture(scope="module")
def submitted(cluster: Cluster) -> subprocess.CompletedProcess[str]:
    """A training run that was submitted from the host beside the cluster."""
    return cluster.ray.run(
        cluster.client, "distpolicy", "submit", cluster.ray.dashboard, *TRAIN, "--run-dir", "runs/submitted"
    )


def metrics(head: Host, run: str) -> list[dict[str, str]]:
    """The rows of a run's metrics."""
    with (head.path(HOME) / "runs" / run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if not name.endswith("_s")} for row in rows]


def test_dry_run_places_the_learner_where_the_gpu_is_and_a_collector_on_every_host(cluster: Cluster) -> None:
    done = cluster.ray.run(cluster.head, "distpolicy", *TRAIN, "--address", cluster.ray.address, "--dry-run")
    assert done.returncode == 0, done.stdout
    assert "1 x learner, each GPU 1, learner 1: 1 on 10.77.0.3" in done.stdout
    places = "1 on 10.77.0.1 (head), 1 on 10.77.0.2, 1 on 10.77.0.3"
    assert f"3 x collector, each CPU 1, collector 1: {places}" in done.stdout


def test_a_run_submitted_from_outside_has_its_actors_there(
    cluster: Cluster, submitted: subprocess.CompletedProcess[str]
) -> None:
    assert submitted.returncode == 0, submitted.stdout
    assert cluster.ray.places("Learner", "DEAD") == [cluster.east.address]
    assert cluster.ray.places("Collector", "DEAD") == [
        host.address for host in (cluster.head, cluster.west, cluster.east)
    ]


def test_output_of_a_submitted_run_is_shown_and_its_run_directory_is_on_the_head(
    cluster: Cluster, submitted: subprocess.CompletedProcess[str]
) -> None:
    assert "run directory: runs/submitted" in submitted.stdout
    assert cluster.ray.token not in submitted.stdout
    rows = metrics(cluster.head, "submitted")
    assert len(rows) >= 5
    assert {float(row["policy_lag"]) for row in rows} == {0.0}
    assert f"{int(rows[-1]['env_steps']):,} env steps" in submitted.stdout


def test_exit_code_of_a_submitted_run_is_passed_on(cluster: Cluster) -> None:
    command = ("distpolicy", "submit", cluster.ray.dashboard, "train", "--env", "Nope-v0")
    done = cluster.ray.run(cluster.client, *command)
    assert done.returncode == 2, done.stdout
    assert "unknown env 'Nope-v0'" in done.stdout


@pytest.mark.slow
def test_a_slow_network_that_loses_frames_makes_a_run_slower_and_changes_no_number(
    cluster: Cluster, submitted: subprocess.CompletedProcess[str]
) -> None:
    command = ("distpolicy", *TRAIN, "--address", cluster.ray.address, "--run-dir", "runs/slow")
    with cluster.west.slow_link(DELAY_S, loss=0.05), cluster.east.slow_link(DELAY_S, loss=0.05):
        done = cluster.ray.run(cluster.head, *command)
    assert done.returncode == 0, done.stdout
    rows = metrics(cluster.head, "slow")
    assert without_times(rows) == without_times(metrics(cluster.head, "submitted"))
    # Before each update but the first one, weights have gone out and rollouts have come back.
    assert float(rows[-1]["train_s"]) > (len(rows) - 1) * 2 * DELAY_S


def test_weights_cross_the_network_once_for_each_host(cluster: Cluster) -> None:
    versions = 5
    script = ("python", str(HERE / "weights_broadcast.py"), cluster.ray.address, cluster.west.address)
    received = []
    for num_collectors in (1, 4):
        before = cluster.west.received_bytes()
        done = cluster.ray.run(cluster.head, *script, str(num_collectors), str(versions))
        assert done.returncode == 0, done.stdout
        received.append(cluster.west.received_bytes() - before)
    assert received[0] > versions * NUM_BYTES
    assert received[1] / received[0] < 1.1, received


def test_doctor_tells_of_each_host_and_fails_for_a_gpu_that_is_not_there(cluster: Cluster) -> None:
    command = ("distpolicy", "doctor", "--address", cluster.ray.address, "--nodes", "3", "--gpus", "1")
    done = cluster.ray.run(cluster.head, *command)
    assert done.returncode == 1, done.stdout
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAIL")]
    assert [line.split(": install")[0] for line in failed] == ["FAIL  node 10.77.0.3: GPUs: 1 in Ray, 0 in TensorFlow"]
    for node in ("10.77.0.1 (head)", "10.77.0.2", "10.77.0.3"):
        assert any(line.startswith(f"ok    node {node}: weights of 1 MB there") for line in lines), done.stdout
    assert "ok    authentication: by token" in lines
    assert any(line.startswith("ok    versions: ") and line.endswith(" on 3 nodes") for line in lines)
