"""Builds the networks of actor-critic agents from their settings and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from distpolicy.agents.actor_critic import make_policy_network
from distpolicy.distributions.utils import action_scale
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.categorical_projection_network import CategoricalProjectionNetwork
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.normal_projection_network import NormalProjectionNetwork, scale_to_spec
from distpolicy.networks.observation_encoding import preprocessing_for
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.trajectories.environment_specs import EnvironmentSpecs


class ActorNetworks(NamedTuple):
    """The networks of a stochastic policy.

    Attributes:
        encoding: The encoder that all networks of the agent share; None if they read observations themselves.
        input_spec: Nest of specs of the input of the actor and of the agent's other networks.
        actor: The network from encodings, or observations, to distributions.
    """

    encoding: Network | None
    input_spec: Any
    actor: Network

    def policy_network(self, observation_spec: Any) -> Network:
        """Returns the network from observations to distributions."""
        return make_policy_network(observation_spec, self.actor, self.encoding)


def actor_networks(specs: EnvironmentSpecs, networks: NetworkConfig, seed: int) -> ActorNetworks:
    """Builds the networks of a stochastic policy.

    Args:
        specs: Of the environment.
        networks: The settings.
        seed: The run's seed, which decides the initial weights.
    """
    encoding = observation_encoder(specs.time_step.observation, networks, seed)
    input_spec = specs.time_step.observation if encoding is None else encoding.create_variables()
    return ActorNetworks(encoding, input_spec, _actor_network(input_spec, specs.action, networks, seed))


def value_network(input_spec: Any, units: Sequence[int], activation: str, seed: int) -> ValueNetwork:
    """Builds a critic.

    Args:
        input_spec: Nest of specs of its input.
        units: Width of each dense layer.
        activation: Activation of the dense layers.
        seed: The run's seed, which decides the initial weights.
    """
    seed = network_seed(seed, 1)
    return ValueNetwork(
        input_spec,
        fc_layer_params=units,
        activation_fn=activation,
        kernel_initializer=keras.initializers.Orthogonal(math.sqrt(2.0), seed=seed),
        last_kernel_initializer=keras.initializers.Orthogonal(1.0, seed=seed + len(units)),
    )


def observation_encoder(observation_spec: Any, networks: NetworkConfig, run_seed: int) -> Network | None:
    """Builds the network that all networks of an agent share.

    Args:
        observation_spec: Nest of specs of one observation.
        networks: The settings.
        run_seed: The run's seed, which decides the initial weights.

    Returns:
        The network from observations to encodings; None if other networks read observations themselves.
    """
    seed = network_seed(run_seed, 2)
    layers, combiner = preprocessing_for(
        observation_spec,
        conv_layer_params=networks.conv_layers,
        kernel_initializer=keras.initializers.Orthogonal(math.sqrt(2.0), seed=network_seed(run_seed, 3)),
    )
    initializer = keras.initializers.Orthogonal(math.sqrt(2.0), seed=seed)
    if networks.is_recurrent:
        return LSTMEncodingNetwork(
            observation_spec,
            preprocessing_layers=layers,
            preprocessing_combiner=combiner,
            input_fc_layer_params=networks.encoder_units or None,
            lstm_size=networks.recurrent_units,
            output_fc_layer_params=None,
            activation_fn=networks.activation,
            cell=networks.recurrent,
            kernel_initializer=initializer,
            seed=seed + len(networks.encoder_units),
        )
    if layers is None and not networks.encoder_units:
        return None
    return EncodingNetwork(
        observation_spec,
        preprocessing_layers=layers,
        preprocessing_combiner=combiner,
        fc_layer_params=networks.encoder_units,
        activation_fn=networks.activation,
        kernel_initializer=initializer,
    )


def _actor_network(input_spec: Any, action_spec: Any, networks: NetworkConfig, run_seed: int) -> Network:
    seed = network_seed(run_seed, 0)
    # Small, so that the policy begins near uniform (Andrychowicz et al., "What matters in on-policy reinforcement
    # learning", 2020).
    last_initializer = keras.initializers.Orthogonal(0.01, seed=seed + len(networks.actor_units))
    return ActorDistributionNetwork(
        input_spec,
        action_spec,
        fc_layer_params=networks.actor_units,
        activation_fn=networks.activation,
        kernel_initializer=keras.initializers.Orthogonal(math.sqrt(2.0), seed=seed),
        discrete_projection_net=lambda spec: CategoricalProjectionNetwork(spec, kernel_initializer=last_initializer),
        continuous_projection_net=lambda spec: _normal_projection(spec, networks.continuous, last_initializer),
    )


def _normal_projection(spec: Any, kind: str, kernel_initializer: Any) -> Network:
    """Returns a normal whose deviation, in the action's scale, is learned and the same for all observations."""
    squashed = kind == "tanh_normal"
    _, scale = action_scale(spec)
    return NormalProjectionNetwork(
        spec,
        std_bias_initializer_value=-0.5,
        mean_transform=scale_to_spec,
        std_transform=tf.exp if squashed else lambda log_stddev: tf.exp(log_stddev) * tf.cast(scale, log_stddev.dtype),
        scale_distribution=squashed,
        kernel_initializer=kernel_initializer,
    )


def network_seed(run_seed: int, index: int) -> int:
    """Returns the seed of the initial weights of one of an agent's networks.

    Args:
        run_seed: The run's seed.
        index: Number of the network: 0 for the actor, 1 for the critic, 2 for the encoder, 3 for its convolutions.
    """
    words = np.random.SeedSequence(run_seed, spawn_key=(2**16 + index,)).generate_state(1)
    return int(words[0] % 2**30)
