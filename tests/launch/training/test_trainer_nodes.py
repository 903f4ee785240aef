"""A run on Ray's cluster of several nodes on one machine: where its actors are, and a node that goes for another.

The same over a network, by the command line and as root: tests/cluster.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from driver_runs import CONFIG, Recorder, Stop, numbers_of, run_until_done, run_until_stopped
from light_workers import STEPS, Notes, light_driver
from ray.cluster_utils import Cluster
from replay_checks import check_replay

from distpolicy.agents.dqn.config import DQNConfig
from launch.supervision import calls
from launch.training.trainer import Trainer

# The same as of tests/cluster, for machines that refuse these.
pytestmark = [pytest.mark.slow, pytest.mark.release]

COLLECTOR: dict[str, Any] = {"num_cpus": 1, "resources": {"collector": 1}}
LEARNER: dict[str, Any] = {"num_cpus": 0, "num_gpus": 1, "resources": {"learner": 1}}


@dataclasses.dataclass
class Nodes:
    """A cluster, with the ids of its nodes by what they are for."""

    cluster: Cluster
    collectors: list[Any]
    learner: Any


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        # Workers find their classes by it.
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        try:
            collectors = [cluster.add_node(**COLLECTOR) for _ in range(2)]
            learner = cluster.add_node(**LEARNER)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
            yield Nodes(cluster, collectors, learner)
        finally:
            ray.shutdown()
            cluster.shutdown()


def driver_with_a_lag(rollout_bytes: int, num_updates: int, notes: Notes, **more: Any) -> Trainer:
    """Returns a driver of two collectors with a lag of 2; each worker has a node of its own."""
    resources = {"collector_resources": COLLECTOR["resources"], "learner_resources": LEARNER["resources"]}
    return light_driver(2, rollout_bytes, num_updates, notes, max_policy_lag=2, **resources, **more)


def test_with_a_lag_only_the_rollouts_of_a_node_that_goes_are_collected_again(nodes: Nodes) -> None:
    """Collectors that are ahead of the learner are not at work when their node goes."""

    def then(update: int) -> None:
        if update == 2:
            # Until all that was asked for is there, and the learner is busy with the third update.
            time.sleep(1.0)
            nodes.cluster.remove_node(nodes.collectors.pop(0), allow_graceful=False)
            time.sleep(5.0)

    notes = Notes(then)
    driver = driver_with_a_lag(400_000, 6, notes, update_s=3.0)
    try:
        list(driver.updates())
    finally:
        driver.close()
        nodes.collectors.append(nodes.cluster.add_node(**COLLECTOR))
    assert sorted(set(notes.learned)) == sorted(notes.learned)
    (lost,) = notes.faults
    index = int(lost.what.split()[1])
    others = sorted(number for one, _, number in notes.learned if one != index)
    assert others == list(range(len(others))), "no rollout of the other one is lost"
    before = [number for one, generation, number in notes.learned if one == index and generation == 0]
    # It was ahead by these.
    assert lost.env_steps_lost >= 2 * STEPS
    assert len(before) + lost.env_steps_lost // STEPS <= 6


def test_weights_that_collectors_on_other_nodes_have_read_outlive_the_node_of_the_learner(nodes: Nodes) -> None:
    """These are the last ``max_policy_lag + 1`` versions that act."""
    weights: dict[int, Any] = {}
    found: dict[int, int] = {}

    def then(update: int) -> None:
        weights.update({pending.update: pending.weights for pending in driver.pipeline.pending})
        if update == 6 and not found:
            # Until collectors act by the weights of this update, or wait for the next ones.
            time.sleep(1.0)
            nodes.cluster.remove_node(nodes.learner, allow_graceful=False)
            # Until Ray notices, and looks for the copies.
            wait_until_dead(nodes.learner)
            try:
                found.update({version: calls.get(weights[version], 60.0).nbytes for version in (4, 5, 6)})
            finally:
                nodes.learner = nodes.cluster.add_node(**LEARNER)

    notes = Notes(then)
    driver = driver_with_a_lag(1_000, 10, notes, update_s=2.0, weights_bytes=1_000_000)
    try:
        list(driver.updates())
    finally:
        driver.close()
    assert found == dict.fromkeys((4, 5, 6), 1_000_000)
    assert [fault.what for fault in notes.faults] == ["learner"]


def wait_until_dead(node: Any) -> None:
    while any(one["Alive"] for one in ray.nodes() if one["NodeID"] == node.node_id):
        time.sleep(0.2)


def place_of(actor: Any) -> str:
    return ray.get(actor.__ray_call__.remote(lambda self: ray.get_runtime_context().get_node_id()), timeout=300)


def test_actors_are_where_their_resources_are_and_another_node_takes_the_place_of_one_that_goes(nodes: Nodes) -> None:
    places: dict[str, list[str]] = {}

    def then(driver: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 3:
            places["learner"] = [place_of(actor) for actor in driver.learners.actors]
            places["collectors"] = [place_of(handle.actor) for handle in driver.handles]
            nodes.cluster.remove_node(nodes.collectors[0], allow_graceful=False)
        if recorder.losses and "new" not in places and len(recorder.outcomes) > 6:
            places["new"] = [nodes.cluster.add_node(**COLLECTOR).node_id]
        if any(report.generation > 0 for report in recorder.outcomes[-1].reports):
            places["after"] = [place_of(handle.actor) for handle in driver.handles]
            raise Stop

    recorder = run_until_stopped(dataclasses.replace(CONFIG, total_steps=100_000_000), then)
    first, second = (node.node_id for node in nodes.collectors)
    assert places["learner"] == [nodes.learner.node_id]
    assert sorted(places["collectors"]) == sorted([first, second])
    assert sorted(places["after"]) == sorted([second, *places["new"]])
    assert len(recorder.losses) == 1
    assert {len(outcome.reports) for outcome in recorder.outcomes} == {CONFIG.collectors}
    for numbers in numbers_of(recorder.reports).values():
        assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("lost", ["collector", "learner"])
def test_a_replay_buffer_has_each_transition_once_after_a_node_has_gone(nodes: Nodes, lost: str) -> None:
    """A node that goes takes its collector, or the learner with the buffer; another node takes its place."""
    agent = DQNConfig(
        replay_capacity=100_000, batch_size=8, updates_per_call=4, samples_per_insert=2.0, learning_starts=100
    )
    config = dataclasses.replace(CONFIG, total_steps=100_000_000, checkpoint_every=3, agent=agent)
    node = nodes.collectors.pop() if lost == "collector" else nodes.learner
    is_back = False

    def then(driver: Trainer, recorder: Recorder) -> None:
        nonlocal is_back
        if len(recorder.outcomes) == 7:
            nodes.cluster.remove_node(node, allow_graceful=False)
            if lost == "learner":
                # The run waits for it.
                nodes.learner = nodes.cluster.add_node(**LEARNER)
        if lost == "collector" and recorder.losses and not is_back and len(recorder.outcomes) > 10:
            is_back = True
            nodes.collectors.append(nodes.cluster.add_node(**COLLECTOR))
        if recorder.recoveries and len(recorder.outcomes) >= 25:
            driver.stop()

    recorder = run_until_done(config, then)
    assert [fault.what.split()[0] for fault in recorder.losses] == [lost]
    assert bool(recorder.returns_to) == (lost == "learner")
    assert recorder.saved is not None
    assert recorder.saved.totals == recorder.outcomes[-1].totals
    check_replay(recorder.saved.state, recorder.saved.totals.env_steps, config)
