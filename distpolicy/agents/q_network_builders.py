"""Builds Q-networks from their settings and seeds; the losses by their names in the settings."""

from __future__ import annotations

from typing import Any

from distpolicy.agents.network_builders import network_seed
from distpolicy.networks.dueling_q_network import DuelingQNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.noisy_q_network import NoisyQNetwork
from distpolicy.networks.observation_encoding import preprocessing_for
from distpolicy.networks.q_network import QNetwork
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.utils.common import element_wise_huber_loss, element_wise_squared_loss

TD_LOSSES = {"huber": element_wise_huber_loss, "squared": element_wise_squared_loss}


def q_network(
    specs: EnvironmentSpecs, networks: NetworkConfig, seed: int, dueling: bool = False, noisy: bool = False
) -> Network:
    """Builds a network from observations to the values of all actions.

    Args:
        specs: Of the environment.
        networks: The settings.
        seed: The run's seed, which decides the initial weights.
        dueling: Whether the last layer is one for the state's value and one for the actions' advantages.
        noisy: Whether the weights of ``actor_units`` and of the outputs have noise.
    """
    arguments = encoder_arguments(specs.time_step.observation, networks, seed)
    if noisy:
        return NoisyQNetwork(
            specs.time_step.observation,
            specs.action,
            fc_layer_params=networks.encoder_units,
            noisy_layer_params=networks.actor_units,
            dueling=dueling,
            **arguments,
        )
    units = (*networks.encoder_units, *networks.actor_units)
    if dueling:
        return DuelingQNetwork(
            specs.time_step.observation,
            specs.action,
            fc_layer_params=units[:-1],
            stream_layer_params=units[-1:],
            **arguments,
        )
    return QNetwork(specs.time_step.observation, specs.action, fc_layer_params=units, **arguments)


def encoder_arguments(observation_spec: Any, networks: NetworkConfig, seed: int) -> dict[str, Any]:
    """Returns the arguments of a network that say how it reads observations, and its seed.

    Args:
        observation_spec: Nest of specs of one observation.
        networks: The settings.
        seed: The run's seed, which decides the initial weights.
    """
    layers, combiner = preprocessing_for(
        observation_spec, conv_layer_params=networks.conv_layers, seed=network_seed(seed, 1)
    )
    return {
        "preprocessing_layers": layers,
        "preprocessing_combiner": combiner,
        "activation_fn": networks.activation,
        "seed": network_seed(seed, 0),
    }
