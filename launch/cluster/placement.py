"""Placement: the actors of a run, what each asks for, and the nodes that they would fit on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distpolicy.errors import ConfigError
from launch.config.collect import CollectConfig
from launch.config.train import TrainConfig

# Resources that the nodes of a cluster may declare to say what they are for.
COLLECTOR_ROLE = "collector"
LEARNER_ROLE = "learner"

# Names of groups of actors.
LEARNER = "learner"
COLLECTOR = "collector"
SERVER = "inference server"

_ROUNDING = 1e-9


@dataclass(frozen=True)
class ActorGroup:
    """Actors of one kind."""

    name: str
    """What they are."""
    count: int
    """How many."""
    resources: Mapping[str, float]
    """What each asks for."""
    note: str = ""
    """What a reader should know."""
    least: int | None = None
    """How many there have to be to begin, where the others may join later; None where all have to be there."""


@dataclass(frozen=True)
class Node:
    """A node and what it has."""

    name: str
    """Its address."""
    total: Mapping[str, float]
    """Its resources."""
    free: Mapping[str, float]
    """Those that nobody holds."""
    node_id: str = ""
    """Ray's id of it."""
    object_store_bytes: int = 0
    """Size of its object store."""


@dataclass(frozen=True)
class Plan:
    """Where actors would fit."""

    places: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """For each group's name, how many on the node of each name."""
    left_over: Mapping[str, int] = field(default_factory=dict)
    """For each group's name, how many fit nowhere."""

    @property
    def fits(self) -> bool:
        """Whether there is a place for every actor."""
        return not any(self.left_over.values())

    def begins(self, groups: Sequence[ActorGroup]) -> bool:
        """Whether there is a place for as many of each group as there have to be to begin."""
        return all(_required(group) <= group.count - self.left_over[group.name] for group in groups)


def total_resources(nodes: Sequence[Node]) -> dict[str, float]:
    """The resources of all nodes together."""
    totals: dict[str, float] = {}
    for node in nodes:
        for name, amount in node.total.items():
            totals[name] = totals.get(name, 0.0) + amount
    return totals


def training_actors(config: TrainConfig, totals: Mapping[str, float]) -> list[ActorGroup]:
    """The actors of a training run; those that need what is rarest come first.

    Args:
        config: The run's config.
        totals: The resources of all nodes together. The learner asks for a GPU where there is one, each of several
            where there are enough for all, and both kinds of actors ask for the resource that bears their role's name
            where any node declares it.
    """
    gpus, alone = totals.get("GPU", 0.0), config.learners == 1
    each = min(gpus, 1.0) if alone else float(gpus >= config.learners)
    note = "" if each else "there is no GPU: it learns on the CPU"
    if not each and not alone:
        note = f"{gpus:g} GPUs are not one for each of {config.learners} learners: they learn on CPUs"
    learner = {"GPU": each} if each else {}
    return [
        ActorGroup(LEARNER, config.learners, _with_role(learner, LEARNER_ROLE, totals), note),
        dataclasses.replace(_collectors(config.collectors, totals), least=config.least_collectors),
    ]


def collecting_actors(config: CollectConfig, totals: Mapping[str, float]) -> list[ActorGroup]:
    """The actors of a collect job; those that need what is rarest come first.

    Args:
        config: The job's config.
        totals: The resources of all nodes together.
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
    """Finds a place for each actor; those of a group are spread over the nodes.

    Args:
        groups: The actors, in the order in which they are placed.
        nodes: The nodes.
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
    """Refuses actors for which the nodes have no room, even if nobody else holds anything.

    Args:
        groups: The actors, in the order in which they are placed.
        nodes: The nodes.
        who: Names them, for the message.
        grows: Whether others may join them.

    Raises:
        ConfigError: If a group cannot begin; says what it asks for and how many would fit.
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
                advice += f", or have the others join as nodes do: --collectors {room}:{group.count}"
        raise ConfigError(f"{asked}, and {who} has room for {room}: {advice}")


def _required(group: ActorGroup) -> int:
    return group.count if group.least is None else group.least


def _fits(wanted: Mapping[str, float], has: Mapping[str, float]) -> bool:
    return all(has.get(name, 0.0) + _ROUNDING >= amount for name, amount in wanted.items())


def describe_resources(resources: Mapping[str, float]) -> str:
    """``CPU 1, learner 1``; "nothing" if there is none."""
    return ", ".join(f"{name} {amount:g}" for name, amount in resources.items()) or "nothing"


def this_machine() -> Node:
    """What a Ray that is started here would have."""
    resources = {"CPU": float(os.cpu_count() or 1)}
    if gpus := _num_gpus_here():
        resources["GPU"] = gpus
    return Node("this machine", resources, resources)


def _num_gpus_here() -> float:
    """NVIDIA GPUs whose devices are here and visible."""
    devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return float(devices)
    # As CUDA reads it: what follows an invalid entry is not visible.
    chosen = visible.split(",")
    valid = next((index for index, entry in enumerate(chosen) if entry in ("", "-1")), len(chosen))
    return float(min(devices, valid))
