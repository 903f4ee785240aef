"""The settings that benchmarks/recurrent.py compares: a recurrent preset, and the same without its cells."""

from __future__ import annotations

import dataclasses

from launch.config.train import TrainConfig

PRESETS = ("stateless-cartpole-lstm", "stateless-cartpole-gru")


def feed_forward(config: TrainConfig) -> TrainConfig:
    """The same settings with a dense layer in the place and of the size of each cell, in actor and critic alike."""
    network = config.network
    first = (*network.encoder_units, *network.recurrent_units)
    return dataclasses.replace(
        config,
        network=dataclasses.replace(
            network,
            recurrent="none",
            actor_units=(*first, *network.actor_units),
        ),
        agent=dataclasses.replace(config.agent, value_units=(*first, *config.agent.value_units)),
    )


def describe(config: TrainConfig) -> str:
    """The layers of the actor, such as ``lstm 64, dense 64-64``."""
    network = config.network
    if network.recurrent == "none":
        return f"dense {_joined(network.actor_units)}"
    before = f"dense {_joined(network.encoder_units)}, " if network.encoder_units else ""
    after = f", dense {_joined(network.actor_units)}" if network.actor_units else ""
    return f"{before}{network.recurrent} {_joined(network.recurrent_units)}{after}"


def _joined(units: tuple[int, ...]) -> str:
    return "-".join(map(str, units))
