"""Golden cases: recurrent networks with given weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case
from golden_toolkit import (
    OBSERVATIONS,
    discrete,
    fill,
    logits_of,
    observation_spec,
    step_spec,
    time_step,
)

_RECURRENT = {"input_fc_layer_params": (4,), "lstm_size": (3,), "output_fc_layer_params": (2,)}


@case("lstm_encoding_network/unroll")
def lstm(ns: Any) -> Any:
    network = ns.lstm_encoding_network.LSTMEncodingNetwork(observation_spec(), **_RECURRENT)
    network.create_variables()
    fill(network.variables)
    observations = tf.constant(np.stack([OBSERVATIONS, OBSERVATIONS[::-1]]))
    state = network.get_initial_state(batch_size=2)
    carried = tf.nest.map_structure(lambda leaf: leaf + 0.5, state)
    kinds = tf.constant([[1, 0, 1], [1, 1, 2]])
    unrolled, last = network(observations, step_type=kinds, network_state=carried)
    one, after = network(observations[:, 0], step_type=kinds[:, 0], network_state=carried)
    return {
        "state_spec": network.state_spec,
        "unrolled": unrolled,
        "last": last,
        "one": one,
        "after": after,
        "no_state": network(observations, step_type=kinds)[0],
    }


@case("lstm_encoding_network/stacked")
def lstm_stacked(ns: Any) -> Any:
    network = ns.lstm_encoding_network.LSTMEncodingNetwork(
        observation_spec(), input_fc_layer_params=None, lstm_size=(3, 2), output_fc_layer_params=None
    )
    network.create_variables()
    fill(network.variables)
    output, _ = network(tf.constant(OBSERVATIONS[np.newaxis]), step_type=tf.constant([[0, 1, 1]]))
    return {"output": output, "shapes": [item.shape for item in tf.nest.flatten(network.state_spec)]}


@case("value_rnn_network/outputs")
def value_rnn(ns: Any) -> Any:
    network = ns.value_rnn_network.ValueRnnNetwork(observation_spec(), **_RECURRENT)
    network.create_variables()
    fill(network.variables)
    return network(tf.constant(OBSERVATIONS[np.newaxis]), step_type=tf.constant([[0, 1, 0]]))[0]


@case("q_rnn_network/outputs")
def q_rnn(ns: Any) -> Any:
    network = ns.q_rnn_network.QRnnNetwork(observation_spec(), discrete(ns), **_RECURRENT)
    network.create_variables()
    fill(network.variables)
    return network(tf.constant(OBSERVATIONS[np.newaxis]), step_type=tf.constant([[0, 1, 0]]))[0]


@case("actor_distribution_rnn_network/policy")
def actor_rnn(ns: Any) -> Any:
    network = ns.actor_distribution_rnn_network.ActorDistributionRnnNetwork(
        observation_spec(), discrete(ns), **_RECURRENT
    )
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), discrete(ns), network)
    fill(policy.variables())
    state, outputs = policy.get_initial_state(3), []
    for kinds in ((0, 0, 0), (1, 2, 1), (1, 0, 1)):
        step = policy.distribution(time_step(ns, kinds), state)
        state = step.state
        outputs.append([logits_of(step.action, 3), state])
    return outputs
