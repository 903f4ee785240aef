"""Builds the networks and optimizers of off-policy agents with an actor and critics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from distpolicy.agents.adam import Adam
from distpolicy.agents.ddpg.actor_network import ActorNetwork
from distpolicy.agents.ddpg.joint_encoder import single_spec
from distpolicy.agents.network_builders import network_seed, observation_encoder
from distpolicy.agents.off_policy_actor_critic_config import OffPolicyActorCriticConfig
from distpolicy.agents.twin_critic_network import TwinCriticNetwork
from distpolicy.distributions.utils import action_scale
from distpolicy.networks.network import Network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.sequential import Sequential
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs

_ADAM_EPSILON = 1e-8


class ActorAndCritics(NamedTuple):
    """An actor and critics, which share an encoder if there is one, and their optimizers.

    Attributes:
        actor: From observations to actions, or to distributions.
        critic: From pairs of observations and actions to the values of all critics.
        actor_optimizer: Of the variables that the actor has for itself.
        critic_optimizer: Of the critics' variables, with the encoder's.
    """

    actor: Network
    critic: TwinCriticNetwork
    actor_optimizer: Adam
    critic_optimizer: Adam


def actor_and_critics(
    config: OffPolicyActorCriticConfig,
    specs: EnvironmentSpecs,
    networks: NetworkConfig,
    seed: int,
    make_actor: Callable[[Any, int], Network],
    num_critics: int = 2,
    num_actions: int | None = None,
) -> ActorAndCritics:
    """Builds an actor and critics.

    Args:
        config: The algorithm's settings.
        specs: Of the environment.
        networks: The settings of the networks.
        seed: The run's seed, which decides the initial weights.
        make_actor: From the spec of the actor's input, an observation or its encoding, and a seed.
        num_critics: Number of critics.
        num_actions: Number of discrete actions; None for actions of floats.
    """
    observation_spec = specs.time_step.observation
    critic = TwinCriticNetwork(
        (observation_spec, specs.action) if num_actions is None else observation_spec,
        config.critic_units,
        networks.activation,
        observation_encoder(observation_spec, networks, seed),
        num_critics,
        num_actions=num_actions,
        seed=network_seed(seed, 1),
    )
    critic.create_variables()
    encoder, actor_seed = critic.encoder, network_seed(seed, 0)
    if encoder is None:
        actor = make_actor(observation_spec, actor_seed)
    else:
        own = make_actor(encoder.create_variables(), actor_seed)
        actor = Sequential([encoder, _widened, own], observation_spec, "PolicyNetwork")
    actor.create_variables()
    shared = set() if encoder is None else {id(variable) for variable in encoder.variables}
    trained = [variable for variable in actor.trainable_variables if id(variable) not in shared]
    return ActorAndCritics(
        actor,
        critic,
        adam(trained, config.actor_learning_rate or config.learning_rate),
        adam(critic.trainable_variables, config.learning_rate),
    )


def _widened(encoding: tf.Tensor) -> tf.Tensor:
    """Returns an encoding, which is in bfloat16 with mixed precision, as float32."""
    return tf.cast(encoding, tf.float32)


def adam(variables: Any, learning_rate: float) -> Adam:
    """Returns an optimizer.

    Args:
        variables: Variables or tensors of the shapes to train.
        learning_rate: Its step size.
    """
    return Adam(variables, _ADAM_EPSILON, None, learning_rate)


def deterministic_actor(action_spec: Any, networks: NetworkConfig) -> Callable[[Any, int], Network]:
    """Returns the function that makes a deterministic actor, for :func:`actor_and_critics`."""

    def make_actor(input_spec: Any, seed: int) -> Network:
        return ActorNetwork(
            input_spec,
            action_spec,
            fc_layer_params=networks.actor_units,
            activation_fn=networks.activation,
            seed=seed,
        )

    return make_actor


def half_width_of(action_spec: Any) -> np.ndarray:
    """Returns half the distance between the bounds of each element of the only action, float32 ``[*shape]``."""
    spec = single_spec(tensor_spec.from_spec(action_spec), "action")
    return action_scale(spec)[1].numpy()
