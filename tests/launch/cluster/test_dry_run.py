"""Placement, and `--dry-run` as a user runs it: it shows who would run where, and starts nothing."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import hypothesis.strategies as st
import pytest
import requests
from commands import distpolicy, environment
from hypothesis import given
from ray_head import RayHead

from distpolicy.errors import ConfigError
from launch.cluster.placement import (
    ActorGroup,
    Node,
    check_places,
    collecting_actors,
    plan,
    total_resources,
    training_actors,
)
from launch.config.collect import CollectConfig
from launch.config.train import TrainConfig


def node(name: str, **resources: float) -> Node:
    return Node(name, resources, resources)


def asked(config: TrainConfig, **totals: float) -> dict[str, Mapping[str, float]]:
    return {group.name: group.resources for group in training_actors(config, totals)}


amounts = st.dictionaries(st.sampled_from(["CPU", "GPU", "collector"]), st.sampled_from([0.0, 0.5, 1.0, 2.0, 8.0]))
groups = st.lists(st.builds(ActorGroup, st.uuids().map(str), st.integers(0, 12), amounts), max_size=4)
clusters = st.lists(amounts, max_size=5).map(
    lambda found: [node(f"node {index}", **resources) for index, resources in enumerate(found)]
)


@given(groups, clusters)
def test_no_node_is_given_more_than_it_has_and_no_actor_is_forgotten(
    wanted: list[ActorGroup], nodes: list[Node]
) -> None:
    found = plan(wanted, nodes)
    used = {item.name: dict.fromkeys(["CPU", "GPU", "collector"], 0.0) for item in nodes}
    for group in wanted:
        places = found.places[group.name]
        assert sum(places.values()) + found.left_over[group.name] == group.count
        for name, count in places.items():
            for resource, amount in group.resources.items():
                used[name][resource] += count * amount
    for item in nodes:
        assert all(amount <= item.free.get(name, 0.0) + 1e-6 for name, amount in used[item.name].items())
    assert found.fits == (not any(found.left_over.values()))


@given(groups, clusters)
def test_an_actor_is_only_left_over_if_no_node_has_room(wanted: list[ActorGroup], nodes: list[Node]) -> None:
    first = wanted[:1]
    found = plan(first, nodes)
    for group in first:
        if found.left_over[group.name]:
            for item in nodes:
                count = found.places[group.name].get(item.name, 0) + 1
                assert any(amount * count > item.free.get(name, 0.0) for name, amount in group.resources.items())


def test_collectors_are_spread_over_the_nodes() -> None:
    nodes = [node("a", CPU=8), node("b", CPU=8), node("c", CPU=1)]
    assert plan([ActorGroup("collector", 7, {"CPU": 1.0})], nodes).places == {"collector": {"a": 3, "b": 3, "c": 1}}


def test_what_others_hold_is_not_given_away() -> None:
    busy = Node("a", {"CPU": 4.0}, {"CPU": 1.0})
    assert plan([ActorGroup("collector", 2, {"CPU": 1.0})], [busy]).left_over == {"collector": 1}


def test_learner_asks_for_a_gpu_where_there_is_one_and_is_placed_there() -> None:
    nodes = [node("cpu", CPU=64), node("gpu", CPU=4, GPU=2)]
    wanted = training_actors(TrainConfig(), total_resources(nodes))
    assert plan(wanted, nodes).places["learner"] == {"gpu": 1}
    assert asked(TrainConfig(), CPU=8.0, GPU=0.25)["learner"] == {"GPU": 0.25}


def test_learner_without_a_gpu_in_the_cluster_is_noted() -> None:
    learner = training_actors(TrainConfig(), {"CPU": 8.0})[0]
    assert learner.resources == {}
    assert "learns on the CPU" in learner.note


def test_actors_ask_for_the_role_that_a_cluster_declares() -> None:
    wanted = asked(TrainConfig(), CPU=8.0, GPU=1.0, collector=8.0, learner=1.0)
    assert wanted == {"learner": {"GPU": 1.0, "learner": 1.0}, "collector": {"CPU": 1.0, "collector": 1.0}}
    assert asked(TrainConfig(), CPU=8.0)["collector"] == {"CPU": 1.0}


def test_an_inference_server_asks_for_its_gpus() -> None:
    config = CollectConfig(inference="server", server_gpus=0.5, collectors=3)
    server, collectors = collecting_actors(config, {"CPU": 8.0, "GPU": 1.0})
    assert (server.count, server.resources) == (1, {"GPU": 0.5})
    assert collectors.count == 3


def test_actors_that_would_fit_nowhere_are_refused_with_what_would_fit() -> None:
    nodes = [node("a", CPU=2, collector=1), node("b", CPU=2)]
    config = TrainConfig(collectors=4, min_collectors=2, envs_per_collector=8)
    wanted = training_actors(config, total_resources(nodes))
    with pytest.raises(ConfigError) as refused:
        check_places(wanted, nodes, "the cluster", grows=True)
    assert str(refused.value) == (
        "2 x collector ask for CPU 1, collector 1 each, and the cluster has room for 1: lower --collectors to 1 and "
        "give each more environments instead, or let the others join when nodes do: --collectors 1:4"
    )
    with pytest.raises(ConfigError, match=r"give each more environments instead$"):
        check_places(wanted, nodes, "this machine", grows=False)
    check_places(training_actors(dataclasses.replace(config, min_collectors=1), {}), nodes, "the cluster", grows=True)


def test_places_that_others_hold_are_waited_for() -> None:
    busy = Node("a", {"CPU": 4.0}, {"CPU": 0.0})
    check_places(training_actors(TrainConfig(collectors=4), {}), [busy], "the cluster", grows=True)


def test_collectors_that_join_later_need_no_place_yet(tmp_path: Path) -> None:
    cpus = os.cpu_count() or 1
    result = distpolicy("train", "--dry-run", "--collectors", f"{cpus}:{cpus + 2}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"{cpus} to {cpus + 2} collectors x 32 envs" in result.stdout
    assert f"joins when there is room: 2 of {cpus + 2} x collector" in result.stdout


def test_without_an_address_neither_ray_nor_tensorflow_is_imported_and_nothing_is_written(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['ray'] = sys.modules['tensorflow'] = None\n"
        "sys.argv = ['distpolicy', 'train', '--dry-run', '--collectors', '1', '--run-dir', 'run']\n"
        "from launch.cli import main\nmain()\n"
    )
    variables = environment(CUDA_VISIBLE_DEVICES="-1")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"node this machine: free CPU {os.cpu_count()}, of CPU {os.cpu_count()}" in done.stdout
    assert "1 x learner, each nothing: 1 on this machine (there is no GPU: it learns on the CPU)" in done.stdout
    assert "1 x collector, each CPU 1: 1 on this machine" in done.stdout
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_shown_with_demand_and_supply_and_ends_with_code_1(tmp_path: Path) -> None:
    many = (os.cpu_count() or 1) + 3
    result = distpolicy(
        *("collect", "--dry-run", "--steps", "9", "--out", "data", "--collectors", str(many), "--num-envs", str(many)),
        cwd=tmp_path,
    )
    assert result.returncode == 1, result.stderr
    line = f"does not fit: 3 of {many} x collector; the group asks for CPU {many}, and all nodes together have CPU "
    assert f"{line}{many - 3} free" in result.stdout
    assert not list(tmp_path.iterdir())


def test_bad_input_is_refused_by_a_dry_run_too(tmp_path: Path) -> None:
    result = distpolicy("train", "--dry-run", "--env", "Nope-v0", cwd=tmp_path)
    assert result.returncode == 2
    assert "unknown env 'Nope-v0'" in result.stderr


def num_actors(head: RayHead) -> int:
    headers = {"Authorization": f"Bearer {head.token}"}
    answer = requests.get(f"{head.dashboard}/api/v0/actors", headers=headers, timeout=60).json()
    return int(answer["data"]["result"]["total"])


@pytest.mark.parametrize("command", [("train",), ("collect", "--steps", "9", "--out", "data", "--inference", "server")])
def test_on_a_cluster_its_nodes_are_looked_at_and_no_actor_is_started(
    head: RayHead, tmp_path: Path, command: tuple[str, ...]
) -> None:
    before = num_actors(head)
    result = distpolicy(
        *command, "--dry-run", "--collectors", "3", "--address", head.address, cwd=tmp_path, **head.environment()
    )
    assert result.returncode == 1, result.stderr
    assert "node 127.0.0.1 (head): free CPU 2, GPU 1, collector 2, learner 1, of CPU 2" in result.stdout
    if command[0] == "train":
        assert "1 x learner, each GPU 1, learner 1: 1 on 127.0.0.1 (head)" in result.stdout
    assert "3 x collector, each CPU 1, collector 1: 2 on 127.0.0.1 (head)" in result.stdout
    assert "does not fit: 1 of 3 x collector" in result.stdout
    assert num_actors(head) == before
    assert not list(tmp_path.iterdir())
