"""Recurrent networks of every kind, small, with weights that make their outputs depend on what they saw before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.agents.actor_critic import make_policy_network
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.sequential import Sequential
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.tensor_spec import TensorSpec
from distpolicy.trajectories.time_step import StepType

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)

OBSERVATION = BoundedArraySpec((3,), np.float32, -10.0, 10.0, "observation")
DISCRETE = BoundedArraySpec((), np.int64, 0, 3, "action")
BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")
MIXED = {"gear": DISCRETE, "steer": BOX}
ENCODING = ArraySpec((5,), np.float32, "encoding")


class LeakyCell(keras.layers.Layer):
    """A cell of a user: two states of different sizes, the second of which leaks."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units
        self.state_size = [units, 2]
        self.output_size = units
        self.mix = keras.layers.Dense(units, activation="tanh")
        self.squeeze = keras.layers.Dense(2)

    def build(self, input_shape: Any) -> None:
        self.mix.build((input_shape[0], input_shape[-1] + self.units + 2))
        self.squeeze.build((input_shape[0], self.units))

    def call(self, inputs: Any, states: Any) -> Any:
        fast, slow = states
        fast = self.mix(tf.concat([inputs, fast, slow], axis=-1))
        return fast, [fast, 0.9 * slow + self.squeeze(fast)]


class NotebookNetwork(Network):
    """An encoder of a user, whose state is a nest of several dtypes and ranks, unrolled by hand."""

    def __init__(self, input_tensor_spec: Any) -> None:
        state_spec = {
            "pages": TensorSpec((2, 3), tf.float32),
            "clock": (TensorSpec((), tf.int32), [TensorSpec((), tf.float32)]),
            "seen": TensorSpec((3,), tf.bool),
        }
        super().__init__(input_tensor_spec, state_spec)
        self._write = keras.layers.Dense(6, activation="tanh")
        self._read = keras.layers.Dense(5, activation="tanh")

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        if observation.shape.rank == 2:
            return self._step(observation, step_type, network_state)
        outputs, state = [], network_state
        for t in range(observation.shape[1]):
            output, state = self._step(observation[:, t], None if step_type is None else step_type[:, t], state)
            outputs.append(output)
        return tf.stack(outputs, axis=1), state

    def _step(self, observation: Any, step_type: Any, state: Any) -> Any:
        if step_type is not None:
            state = reset_rows(tf.equal(step_type, FIRST), state)
        steps, [total] = state["clock"]
        pages = 0.7 * state["pages"][:, ::-1] + tf.reshape(self._write(observation), [-1, 2, 3])
        seen = tf.logical_or(state["seen"], observation > 0.8)
        total = total + tf.reduce_mean(observation, axis=-1)
        clock = tf.stack([tf.cos(tf.cast(steps, tf.float32)), tf.tanh(total)], axis=-1)
        inputs = tf.concat([tf.reshape(pages, [-1, 6]), clock, tf.cast(seen, tf.float32)], axis=-1)
        return self._read(inputs), {"pages": pages, "clock": (steps + 1, [total]), "seen": seen}


def reset_rows(rows: Any, state: Any) -> Any:
    """The state with zeros in these rows, bool ``[B]``."""

    def reset(leaf: Any) -> Any:
        mask = tf.reshape(rows, [-1] + [1] * (len(leaf.shape) - 1))
        return tf.where(mask, tf.zeros_like(leaf), leaf)

    return tf.nest.map_structure(reset, state)


def _encoder(make_cell: Callable[[], Any], observation_spec: Any) -> Network:
    return LSTMEncodingNetwork(
        observation_spec,
        input_fc_layer_params=(4,),
        rnn_construction_fn=make_cell,
        output_fc_layer_params=None,
        activation_fn="tanh",
    )


def _stacked() -> Any:
    return keras.layers.StackedRNNCells([keras.layers.LSTMCell(4), keras.layers.GRUCell(5)])


_ENCODERS: dict[str, Callable[[Any], Network]] = {
    "lstm": lambda spec: _encoder(lambda: keras.layers.LSTMCell(5), spec),
    "gru": lambda spec: _encoder(lambda: keras.layers.GRUCell(5), spec),
    "stacked": lambda spec: _encoder(_stacked, spec),
    "custom cell": lambda spec: _encoder(lambda: LeakyCell(5), spec),
    "nested state": NotebookNetwork,
    "everything": lambda spec: Sequential([NotebookNetwork(spec), _stacked()], spec),
}
# "actor lstm" has no encoding network: the actor itself is recurrent.
KINDS = (*_ENCODERS, "actor lstm")


def make_networks(
    kind: str, observation_spec: Any = OBSERVATION, action_spec: Any = DISCRETE, seed: int = 0
) -> dict[str, Any]:
    """The networks of an agent, by its names for them; their weights are drawn from the seed.

    Args:
        kind: One of ``KINDS``.
        observation_spec: Spec of one observation.
        action_spec: Nest of specs of one action.
        seed: Seed of the weights.
    """
    encoder: Network | None = None
    actor: Network
    if kind == "actor lstm":
        actor = ActorDistributionRnnNetwork(
            observation_spec,
            action_spec,
            input_fc_layer_params=(4,),
            lstm_size=(5,),
            output_fc_layer_params=(6,),
            activation_fn="tanh",
        )
        value = ValueNetwork(observation_spec, fc_layer_params=(4,), activation_fn="tanh")
    else:
        encoder = _ENCODERS[kind](observation_spec)
        actor = ActorDistributionNetwork(ENCODING, action_spec, fc_layer_params=(6,), activation_fn="tanh")
        value = ValueNetwork(ENCODING, fc_layer_params=(4,), activation_fn="tanh")
    networks = {"actor_network": actor, "value_network": value, "encoding_network": encoder}
    generator = np.random.default_rng(seed)
    for network in networks.values():
        if network is not None:
            for variable in network.trainable_variables:
                variable.assign(generator.normal(scale=0.6, size=variable.shape).astype(np.float32))
    return networks


def make_policy_net(kind: str, action_spec: Any = DISCRETE, seed: int = 0) -> Network:
    """From observations to distributions, as a learner and a collector build it."""
    networks = make_networks(kind, OBSERVATION, action_spec, seed)
    return make_policy_network(OBSERVATION, networks["actor_network"], networks["encoding_network"])


def random_step_types(generator: np.random.Generator, batch_size: int, num_steps: int) -> np.ndarray:
    """int32 ``[B, T]``: episodes that end by LAST and go on by FIRST, and some that begin without a LAST before."""
    step_type = np.full((batch_size, num_steps), MID, np.int32)
    for row in step_type:
        row[0] = generator.choice([FIRST, MID, LAST])
        for t in range(1, num_steps):
            if row[t - 1] == LAST:
                row[t] = FIRST
            else:
                row[t] = generator.choice([FIRST, MID, LAST], p=[0.15, 0.6, 0.25])
    return step_type


def random_observations(generator: np.random.Generator, *outer: int) -> np.ndarray:
    """float32 ``[*outer, 3]``."""
    return generator.normal(size=(*outer, 3)).astype(np.float32)


def random_state(generator: np.random.Generator, spec: Any, batch_size: int) -> Any:
    """A nest of arrays ``[B, ...]`` that no initial state is like."""

    def leaf(spec: Any) -> np.ndarray:
        values = generator.normal(size=(batch_size, *spec.shape)) + 1.0
        return values.astype(spec.dtype.as_numpy_dtype if hasattr(spec.dtype, "as_numpy_dtype") else spec.dtype)

    return tf.nest.map_structure(leaf, spec)


def random_pieces(seed: int, spec: Any, batch_size: int, num_steps: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Observations ``[B, T, 3]``, step types ``[B, T]`` and a state ``[B, ...]`` to begin with."""
    generator = np.random.default_rng(seed)
    return (
        random_observations(generator, batch_size, num_steps),
        random_step_types(generator, batch_size, num_steps),
        random_state(generator, spec, batch_size),
    )
