"""Placement: the actors of a run, the resources that each asks for, and the nodes with room for them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distpolicy.errors import ConfigError
from launch.config.collect import CollectConfig
from launch.config.train import TrainConfig

# Custom resources that nodes may declare to reserve themselves for a role.
COLLECTOR_ROLE = "collector"
LEARNER_ROLE = "learner"

# Names of groups of actors.
LEARNER = "learner"
COLLECTOR = "collector"
SERVER = "inference server"

_ROUNDING = 1e-9
_TRACE = 0.001


@dataclass(frozen=True)
class ActorGroup:
    """Actors of one kind."""

    name: str
    """Name of the kind, such as collector."""
    count: int
    """Number of actors."""
    resources: Mapping[str, float]
    """Resources that each actor asks for."""
    note: str = ""
    """Remark that the dry run shows."""
    least: int | None = None
    """Number of actors with which the run can begin; the others may join later. None: all of them."""


@dataclass(frozen=True)
class Node:
    """A node and its resources."""

    name: str
    """Address of the node."""
    total: Mapping[str, float]
    """All resources of the node."""
    free: Mapping[str, float]
    """Resources that are not in use."""
    node_id: str = ""
    """Ray's id of the node."""
    object_store_bytes: int = 0
    """Size of the node's object store."""
    metrics_url: str = ""
    """Where Prometheus reads the metrics of the node's processes; empty if Ray gathers none."""


@dataclass(frozen=True)
class Plan:
    """A possible placement of actors."""

    places: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """For each group's name, the number of actors on each node, by the node's name."""
    left_over: Mapping[str, int] = field(default_factory=dict)
    """For each group's name, the number of actors without a place."""

    @property
    def fits(self) -> bool:
        """True if every actor has a place."""
        return not any(self.left_over.values())

    def begins(self, groups: Sequence[ActorGroup]) -> bool:
        """Returns True if enough actors of each group have a place for the run to begin."""
        return all(_required(group) <= group.count - self.left_over[group.name] for group in groups)


def total_resources(nodes: Sequence[Node]) -> dict[str, float]:
    """Returns the sum of all nodes' resources."""
    totals: dict[str, float] = {}
    for node in nodes:
        for name, amount in node.total.items():
            totals[name] = totals.get(name, 0.0) + amount
    return totals


def training_actors(config: TrainConfig, totals: Mapping[str, float]) -> list[ActorGroup]:
    """Returns the actors of a training run, those with the rarest resources first.

    A single learner asks for a GPU if there is one. Several learners ask for a GPU each if there are enough for all.
    Learners and collectors ask for the custom resource with the name of their role if a node declares it.

    Args:
        config: The run's config.
        totals: The sum of all nodes' resources.
    """
    has_server = config.inference == "server"
    gpus = max(totals.get("GPU", 0.0) - (config.server_gpus if has_server else 0.0), 0.0)
    alone = config.learners == 1
    each = min(gpus, 1.0) if alone else float(gpus >= config.learners)
    note = "" if each else "there is no GPU: it learns on the CPU"
    if not each and not alone:
        note = f"{gpus:g} GPUs are not one for each of {config.learners} learners: they learn on CPUs"
    learner = {"GPU": each} if each else {}
    learner = _with_role(learner, LEARNER_ROLE, totals)
    server = []
    if has_server:
        resources = {"GPU": config.server_gpus} if config.server_gpus else {}
        if LEARNER_ROLE in learner:
            # A trace of the role puts the server on a learner's node.
            learner[LEARNER_ROLE] -= _TRACE
            resources[LEARNER_ROLE] = _TRACE
        server = [ActorGroup(SERVER, 1, resources)]
    learners = [ActorGroup(LEARNER, config.learners, learner, note), *server]
    if not config.uses_collectors:
        return learners
    return [*learners, dataclasses.replace(_collectors(config.collectors, totals), least=config.least_collectors)]


def collecting_actors(config: CollectConfig, totals: Mapping[str, float]) -> list[ActorGroup]:
    """Returns the actors of a collect job, those with the rarest resources first.

    Args:
        config: The job's config.
        totals: The sum of all nodes' resources.
    """
    groups = []
    if config.inference == "server":
        groups.append(ActorGroup(SERVER, 1, {"GPU": config.server_gpus} if config.server_gpus else {}))
    return [*groups, _collectors(config.collectors, totals)]


def _collectors(count: int, totals: Mapping[str, float]) -> ActorGroup:
    return ActorGroup(COLLECTOR, count, _with_role({"CPU": 1.0}, COLLECTOR_ROLE, totals))


def _with_role(resources: dict[str, float], role: str, totals: Mapping[str, float]) -> dict[str, float]:
    return {**resources, role: 1.0} if totals.get(role) else resources


def plan(groups: Sequence[ActorGroup], nodes: Sequence[Node]) -> Plan:
    """Finds a place for each actor. The actors of a group are spread over the nodes.

    Args:
        groups: The actors, in the order in which they are placed.
        nodes: The nodes.

    Returns:
        The placement on the nodes' free resources.
    """
    free = {node.name: dict(node.free) for node in nodes}
    places: dict[str, dict[str, int]] = {}
    left_over: dict[str, int] = {}
    for group in groups:
        counts = places.setdefault(group.name, {})
        left_over[group.name] = 0
        for index in range(group.count):
            fitting = [name for name, has in free.items() if _fits(group.resources, has)]
            if not fitting:
                left_over[group.name] = group.count - index
                break
            chosen = min(fitting, key=lambda name: (counts.get(name, 0), -free[name].get("CPU", 0.0)))
            counts[chosen] = counts.get(chosen, 0) + 1
            for resource, amount in group.resources.items():
                free[chosen][resource] = free[chosen].get(resource, 0.0) - amount
    return Plan(places, left_over)


def check_places(groups: Sequence[ActorGroup], nodes: Sequence[Node], who: str, grows: bool) -> None:
    """Checks that the nodes, if nothing else used them, would have room for enough actors to begin.

    Args:
        groups: The actors, in the order in which they are placed.
        nodes: The nodes.
        who: What the nodes are, for the message.
        grows: Whether more nodes may join.

    Raises:
        ConfigError: If a group has too few places. The message says what it asks for and how many actors would fit.
    """
    found = plan(groups, [dataclasses.replace(node, free=node.total) for node in nodes])
    for group in groups:
        room = group.count - found.left_over[group.name]
        if room >= _required(group):
            continue
        asked = f"{_required(group)} x {group.name} ask for {describe_resources(group.resources)} each"
        advice = "distpolicy doctor shows the nodes"
        if group.name == COLLECTOR and room:
            advice = f"lower --collectors to {room} and give each more environments instead"
            if group.least is not None and grows:
                advice += f", or let the others join when nodes do: --collectors {room}:{group.count}"
        raise ConfigError(f"{asked}, and {who} has room for {room}: {advice}")


def _required(group: ActorGroup) -> int:
    return group.count if group.least is None else group.least


def _fits(wanted: Mapping[str, float], has: Mapping[str, float]) -> bool:
    return all(has.get(name, 0.0) + _ROUNDING >= amount for name, amount in wanted.items())


def describe_resources(resources: Mapping[str, float]) -> str:
    """Returns a text such as ``CPU 1, learner 1``, or ``nothing``."""
    return ", ".join(f"{name} {amount:g}" for name, amount in resources.items()) or "nothing"


def this_machine() -> Node:
    """Returns the node that a Ray started on this machine would have."""
    resources = {"CPU": float(os.cpu_count() or 1)}
    if gpus := _num_gpus_here():
        resources["GPU"] = gpus
    return Node("this machine", resources, resources)


def _num_gpus_here() -> float:
    """Returns the number of NVIDIA GPUs of this machine that are visible to CUDA."""
    devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return float(devices)
    # CUDA ignores everything after an invalid entry.
    chosen = visible.split(",")
    valid = next((index for index, entry in enumerate(chosen) if entry in ("", "-1")), len(chosen))
    return float(min(devices, valid))
