"""imitating_network: the network of a policy that imitates the actions of a dataset."""

from __future__ import annotations

import tensorflow as tf

from distpolicy.agents.network_builders import actor_networks
from distpolicy.networks.network import Network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.sequential import Sequential
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


def imitating_network(specs: EnvironmentSpecs, networks: NetworkConfig, seed: int) -> Network:
    """Builds the network from observations to distributions over actions, with its variables.

    Args:
        specs: Of the data.
        networks: The settings of the networks.
        seed: The run's seed, which decides the initial weights.
    """
    built, observation = actor_networks(specs, networks, seed), specs.time_step.observation
    network = built.actor
    if built.encoding is not None:
        network = Sequential([built.encoding, _widened, built.actor], observation, "PolicyNetwork")
    network.create_variables(observation)
    return network


def _widened(encoding: tf.Tensor) -> tf.Tensor:
    """Returns an encoding, which is in bfloat16 with mixed precision, as float32."""
    return tf.cast(encoding, tf.float32)
