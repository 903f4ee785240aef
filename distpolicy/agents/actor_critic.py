"""ActorCritic: an actor and a critic, either separate or on a shared encoding."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from distpolicy.agents.mixed_precision import in_bfloat16, layers_in_bfloat16
from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network
from distpolicy.networks.sequential import Sequential
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import StepType


class MaskedObservation(NamedTuple):
    """An observation that comes with a mask of actions.

    Attributes:
        network_input: What networks read: nest of ``[..., *shape]``.
        mask: bool ``[..., num_actions]``: False where an action is forbidden.
    """

    network_input: Any
    mask: tf.Tensor


def input_and_mask(observation: Any) -> tuple[Any, Any]:
    """Returns what networks read, and the mask of actions, or None for observations that have none."""
    return observation if isinstance(observation, MaskedObservation) else (observation, None)


class ActorCritic(tf.Module):
    """An actor and a critic, which compute distributions and values of the same steps.

    If there is an encoding network, both read its outputs. Its recurrent part is unrolled once for both, and its state
    is the only state: the policy's.

    Args:
        observation_spec: Nest of specs of one observation, without a mask.
        actor_network: From observations, or from encodings, to distributions; takes a ``mask`` if there are any.
        value_network: From observations, or from encodings, to values.
        encoding_network: From observations to encodings; None for networks that read observations themselves.
        mixed_precision: Whether hidden layers compute in bfloat16. Inputs and outputs stay float32, and policies of the
            same networks compute in float32.
        has_value_state: Whether the value network may have a state. The state is then the pair of the policy's and the
            value network's.

    Raises:
        ConfigError: If the value network has a state otherwise, since it is not kept between rollouts. If there is an
            encoding network and the actor has a state, too. If a recurrent network does not reset its state inside a
            sequence.
    """

    def __init__(
        self,
        observation_spec: Any,
        actor_network: Network,
        value_network: Network,
        encoding_network: Network | None = None,
        mixed_precision: bool = False,
        has_value_state: bool = False,
    ) -> None:
        super().__init__(name="actor_critic")
        self._has_value_state = has_value_state and bool(tf.nest.flatten(value_network.state_spec))
        if tf.nest.flatten(value_network.state_spec) and not has_value_state:
            raise ConfigError(
                f"value_network {value_network.name} has a state, which policies do not carry: make the recurrent part "
                "an encoding_network that actor and critic share"
            )
        if encoding_network is not None and tf.nest.flatten(actor_network.state_spec):
            raise ConfigError(
                f"actor_network {actor_network.name} has a state although there is an encoding_network: put all that "
                "is recurrent into the encoding_network"
            )
        self.observation_encoder = encoding_network
        self._actor_network = actor_network
        self._value_network = value_network
        self._policy_network = make_policy_network(observation_spec, actor_network, encoding_network)
        self._policy_network.create_variables(observation_spec)
        value_network.create_variables()
        parts = [part for part in (encoding_network, actor_network, value_network) if part is not None]
        # Hidden from tf.Module's tracking: the networks track these layers already.
        object.__setattr__(self, "_self_layers_in_bfloat16", layers_in_bfloat16(parts, mixed_precision))
        if tf.nest.flatten(self._policy_network.state_spec):
            _check_resets(self._policy_network, observation_spec)
        if self._has_value_state:
            _check_resets(value_network, observation_spec)

    @property
    def policy_network(self) -> Network:
        """The network from observations to distributions, including the encoding."""
        return self._policy_network

    @property
    def value_network(self) -> Network:
        """The critic without the encoding."""
        return self._value_network

    @property
    def is_recurrent(self) -> bool:
        """True if there is a state."""
        return self._has_value_state or bool(tf.nest.flatten(self._policy_network.state_spec))

    def initial_state(self, policy_state: Any, batch_size: Any) -> Any:
        """Returns the state from the policy's state, with zeros for the value network's.

        Args:
            policy_state: Nest of ``[B, ...]``.
            batch_size: B.
        """
        if not self._has_value_state:
            return policy_state
        return policy_state, tensor_spec.zero_spec_nest(self._value_network.state_spec, [batch_size])

    def __call__(self, observation: Any, step_type: tf.Tensor, state: Any) -> tuple[Any, tf.Tensor, Any]:
        """Returns distributions and values.

        Args:
            observation: Nest of ``[B, *shape]`` or ``[B, T, *shape]``, or a MaskedObservation.
            step_type: int32 ``[B]`` or ``[B, T]``; the state is reset where it is FIRST.
            state: Nest of ``[B, ...]``: the state before the first step; see :meth:`initial_state`.

        Returns:
            A nest of distributions, float32 values of the outer dimensions, and the state after the last step.
        """
        with in_bfloat16(self._self_layers_in_bfloat16):
            return self._call(observation, step_type, state)

    def _call(self, observation: Any, step_type: tf.Tensor, state: Any) -> tuple[Any, tf.Tensor, Any]:
        observation, mask = input_and_mask(observation)
        if self._has_value_state:
            distribution, policy_state = self._actor_network(
                observation, step_type=step_type, network_state=state[0], mask=mask
            )
            value, value_state = self._value_network(observation, step_type=step_type, network_state=state[1])
            return distribution, value, (policy_state, value_state)
        if self.observation_encoder is None:
            encoding = observation
            distribution, state = self._actor_network(observation, step_type=step_type, network_state=state, mask=mask)
        else:
            # In a tuple, if there is one: see Sequential.
            before = state[0] if self.is_recurrent else ()
            encoding, after = self.observation_encoder(observation, step_type=step_type, network_state=before)
            encoding = tf.nest.map_structure(_widened, encoding)
            distribution, _ = self._actor_network(encoding, step_type=step_type, mask=mask)
            state = (after,) if self.is_recurrent else ()
        return distribution, self._value_network(encoding, step_type=step_type)[0], state


def _widened(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32) if tensor.dtype == tf.bfloat16 else tensor


def _check_resets(network: Network, observation_spec: Any) -> None:
    """Checks that a network resets its state inside a sequence. Otherwise the state would leak between episodes."""
    observation = tensor_spec.zero_spec_nest(tensor_spec.from_spec(observation_spec), [1, 2])
    carried = tf.nest.map_structure(lambda spec: tf.ones([1, *spec.shape], spec.dtype), network.state_spec)
    _, across = network(observation, step_type=tf.constant([[StepType.MID, StepType.FIRST]]), network_state=carried)
    last = tf.nest.map_structure(lambda leaf: leaf[:, 1], observation)
    fresh = tensor_spec.zero_spec_nest(network.state_spec, [1])
    _, alone = network(last, step_type=tf.constant([StepType.FIRST]), network_state=fresh)
    for found, expected in zip(tf.nest.flatten(across), tf.nest.flatten(alone), strict=True):
        if not np.allclose(tf.cast(found, tf.float64), tf.cast(expected, tf.float64), rtol=1e-3, atol=1e-3):
            raise ConfigError(
                f"network {network.name} does not reset its state where step_type is FIRST inside a sequence: reset it "
                "there, as DynamicUnroll does with its reset_mask; distpolicy.testing.RecurrentNetworkConformance tells"
            )


def make_policy_network(observation_spec: Any, actor_network: Network, encoding_network: Network | None) -> Network:
    """Returns the network from observations to distributions: the actor, after the encoding if there is one.

    Args:
        observation_spec: Nest of specs of one observation.
        actor_network: See :class:`ActorCritic`.
        encoding_network: The same.
    """
    if encoding_network is None:
        return actor_network
    return Sequential([encoding_network, actor_network], observation_spec, "PolicyNetwork")
