"""Critics: the values of actions by one or several networks, and by their target networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.agents.target_updates import update_targets
from distpolicy.agents.twin_critic_network import TwinCriticNetwork
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep


class Critics(tf.Module):
    """N critics and their targets.

    Args:
        input_spec: Nest of specs of one input of the networks: an observation, or a pair of observation and action.
        networks: From inputs to values, ``[B, *value_shape]`` for one critic and ``[B, n, *value_shape]`` for n.
        targets: The target of each network; None for a copy of it. They start with the weights of their networks.
        value_rank: Rank of the values of an input: 0 for one value, 1 for the values of all actions.
        may_have_state: Whether a network may have a state, which begins at zero with each sequence.

    Raises:
        ConfigError: If a network has a state otherwise.
    """

    def __init__(
        self,
        input_spec: Any,
        networks: Sequence[Network],
        targets: Sequence[Network | None] | None = None,
        value_rank: int = 0,
        may_have_state: bool = False,
    ) -> None:
        super().__init__(name="critics")
        given = [None] * len(networks) if targets is None else targets
        self._value_rank = value_rank
        self._networks = list(networks)
        self._targets = [
            network.copy(name=f"Target{network.name}") if target is None else target
            for network, target in zip(networks, given, strict=True)
        ]
        for network in self.networks:
            if tf.nest.flatten(network.state_spec) and not may_have_state:
                raise ConfigError(f"critic network {network.name} has a state, which replayed transitions do not hold")
            network.create_variables(input_spec)
        # Hidden from tf.Module's tracking: the networks hold these variables already.
        object.__setattr__(self, "_self_trained", _variables(self._networks, trainable=True))
        object.__setattr__(self, "_self_sources", _variables(self._networks))
        object.__setattr__(self, "_self_copies", _variables(self._targets))
        self.reset_targets()

    @property
    def networks(self) -> list[Network]:
        """The networks and their targets."""
        return [*self._networks, *self._targets]

    @property
    def is_recurrent(self) -> bool:
        """Whether a network has a state."""
        return any(tf.nest.flatten(network.state_spec) for network in self.networks)

    @property
    def trained(self) -> list[tf.Variable]:
        """The variables that are trained."""
        return self._self_trained

    @property
    def regularization(self) -> tf.Tensor:
        """Sum of the losses of the layers, such as weight decay: a float32 scalar."""
        losses = [loss for network in self._networks for loss in network.losses]
        return tf.add_n(losses) if losses else tf.zeros(())

    def reset_targets(self) -> None:
        """Gives the targets the weights of the networks."""
        update_targets(self._self_sources, self._self_copies, tf.constant(0, tf.int64), tau=1.0, period=1)

    def update_targets(self, step: tf.Tensor, tau: float, period: int) -> None:
        """Moves the targets towards the networks; see :func:`distpolicy.agents.target_updates.update_targets`."""
        update_targets(self._self_sources, self._self_copies, step, tau, period)

    def values(self, inputs: Any, step_type: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the values of all critics.

        Args:
            inputs: Nest of ``[B, *shape]`` or ``[B, T, *shape]``.
            step_type: int32 of the outer dimensions.
            training: Whether dropout is active.

        Returns:
            float32 ``[..., N, *value_shape]``.
        """
        return self._values(self._networks, inputs, step_type, training=training)

    def first_values(self, inputs: Any, step_type: tf.Tensor) -> tf.Tensor:
        """Returns the values of the first critic alone: float32 ``[..., *value_shape]``."""
        network = self._networks[0]
        options = {"num_critics": 1} if isinstance(network, TwinCriticNetwork) else {}
        return tf.squeeze(self._values([network], inputs, step_type, **options), axis=self._axis)

    def target_values(self, inputs: Any, step_type: tf.Tensor) -> tf.Tensor:
        """Returns the values of all targets: float32 ``[..., N, *value_shape]``."""
        return self._values(self._targets, inputs, step_type)

    @property
    def _axis(self) -> int:
        """The axis of the critics."""
        return -1 - self._value_rank

    def _values(self, networks: Sequence[Network], inputs: Any, step_type: tf.Tensor, **options: Any) -> tf.Tensor:
        found = []
        for network in networks:
            values, _ = network(inputs, step_type=step_type, **options)
            is_one = values.shape.rank == step_type.shape.rank + self._value_rank
            found.append(tf.expand_dims(values, self._axis) if is_one else values)
        return found[0] if len(found) == 1 else tf.concat(found, axis=self._axis)


def make_twin_critics(
    input_spec: Any,
    networks: tuple[Network, Network | None],
    targets: tuple[Network | None, Network | None],
    value_rank: int = 0,
    may_have_state: bool = False,
) -> Critics:
    """Returns two critics from TF-Agents' arguments ``critic_network``, ``critic_network_2`` and their targets.

    Args:
        input_spec: See :class:`Critics`.
        networks: The first critic, or one network of all critics; and the second one, None for a copy of the first.
        targets: Their targets; None for copies.
        value_rank: See :class:`Critics`.
        may_have_state: The same.

    Raises:
        ConfigError: If the first network has all critics, and there is a second one. If there is a target for a second
            critic that is not there, or a copy has the weights of the first critic.
    """
    first, second = networks
    if first.create_variables(input_spec).shape.rank > value_rank:
        if second is not None or targets[1] is not None:
            raise ConfigError(
                f"critic_network {first.name} has several critics: leave critic_network_2 and "
                "target_critic_network_2 out"
            )
        return Critics(input_spec, [first], targets[:1], value_rank, may_have_state)
    if second is None:
        if targets[1] is not None:
            raise ConfigError("target_critic_network_2 needs critic_network_2")
        second = _other_weights(first, input_spec)
    return Critics(input_spec, [first, second], targets, value_rank, may_have_state)


def observation_and_action(time_step_spec: TimeStep, action_spec: Any) -> Any:
    """Returns the spec of the input of critics that take actions."""
    return tensor_spec.from_spec(time_step_spec.observation), tensor_spec.from_spec(action_spec)


def _other_weights(network: Network, input_spec: Any) -> Network:
    """Returns a copy of a critic, with initial weights of its own. Twins that begin alike correct nothing."""
    second = network.copy(name="CriticNetwork2")
    second.create_variables(input_spec)
    pairs = zip(network.trainable_variables, second.trainable_variables, strict=True)
    if all(np.array_equal(one.numpy(), two.numpy()) for one, two in pairs):
        raise ConfigError(
            f"a copy of {network.name} starts with the same weights, since its seed is fixed: "
            "pass critic_network_2 with another seed"
        )
    return second


def _variables(networks: Sequence[Network], trainable: bool = False) -> list[tf.Variable]:
    found: list[tf.Variable] = []
    for network in networks:
        found += network.trainable_variables if trainable else network.variables
    return found
