"""The dry run: shows where a run's actors would be placed, and starts nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from launch.cluster.placement import (
    ActorGroup,
    Node,
    Plan,
    collecting_actors,
    describe_resources,
    plan,
    this_machine,
    total_resources,
    training_actors,
)
from launch.config.collect import CollectConfig
from launch.config.common import counted
from launch.config.run_specs import check_agent_is_there, describe_data, env_specs, run_specs
from launch.config.train import TrainConfig


def dry_run_training(config: TrainConfig, console: Console) -> bool:
    """Shows the placement of a training run.

    Args:
        config: The run's config.
        console: Console to print to.

    Returns:
        Whether enough actors have a place for the run to begin.

    Raises:
        ConfigError: If the environment cannot be made, an agent's function is not there, or there is no cluster at the
            address.
    """
    check_agent_is_there(config)
    factory = config.environment_factory
    run_specs(config, factory)
    return _show(
        describe_data(config, factory),
        lambda totals: training_actors(config, totals),
        config.address,
        console,
    )


def dry_run_collecting(config: CollectConfig, console: Console) -> bool:
    """Shows the placement of a collect job.

    Args:
        config: The job's config.
        console: Console to print to.

    Returns:
        Whether every actor has a place.

    Raises:
        ConfigError: If the environment cannot be made, or there is no cluster at the address.
    """
    factory = config.environment_factory
    env_specs(factory, for_training=False)
    collectors, envs = counted(config.collectors, "collector"), counted(config.num_envs, "env")
    return _show(
        f"{config.env}: {collectors}, {envs}, {factory.describe()}",
        lambda totals: collecting_actors(config, totals),
        config.address,
        console,
    )


def _show(
    title: str,
    groups_for: Callable[[Mapping[str, float]], list[ActorGroup]],
    address: str | None,
    console: Console,
) -> bool:
    def say(text: str) -> None:
        console.print(text)

    nodes = [this_machine()] if address is None else _nodes_at(address)
    groups = groups_for(total_resources(nodes))
    found = plan(groups, nodes)
    say(title)
    say("dry run: nothing is started; Ray may choose other nodes with enough room")
    for node in nodes:
        say(f"node {node.name}: free {describe_resources(node.free)}, of {describe_resources(node.total)}")
    for group in groups:
        where = ", ".join(f"{count} on {name}" for name, count in found.places[group.name].items())
        note = f" ({group.note})" if group.note else ""
        say(f"{group.count} x {group.name}, each {describe_resources(group.resources)}: {where or 'no node'}{note}")
    for line in _shortages(groups, nodes, found):
        say(line)
    return found.begins(groups)


def _shortages(groups: Sequence[ActorGroup], nodes: Sequence[Node], found: Plan) -> list[str]:
    """Returns a line for each group with too few places: what it asks for, and what is free."""
    lines = []
    for group in groups:
        if missing := found.left_over[group.name]:
            demand = describe_resources({name: amount * group.count for name, amount in group.resources.items()})
            supply = {name: sum(node.free.get(name, 0.0) for node in nodes) for name in group.resources}
            begins = group.least is not None and group.least <= group.count - missing
            what = "joins when there is room" if begins else "does not fit"
            lines.append(
                f"{what}: {missing} of {group.count} x {group.name}; "
                f"the group asks for {demand}, and all nodes together have {describe_resources(supply)} free"
            )
    return lines


def _nodes_at(address: str) -> list[Node]:
    from launch.cluster import (
        session as cluster,  # Ray takes a second to import, and is only needed to look at a cluster.
    )

    with cluster.connected(address):
        return cluster.nodes()
