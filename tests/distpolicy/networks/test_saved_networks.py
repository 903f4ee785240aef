"""Networks of every kind in SavedModels, which hold only what tf.Module tracks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.ddpg.critic_network import CriticNetwork
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.nest_map import NestFlatten, NestMap
from distpolicy.networks.sequential import Sequential
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec, zero_spec_nest

VECTOR = TensorSpec((3,), tf.float32)
ACTIONS = {
    "discrete": BoundedTensorSpec((2,), tf.int32, [0, 1], [2, 2]),
    "box": [BoundedTensorSpec((2,), tf.float32, -1.0, 1.0)],
}

MAKERS: dict[str, Callable[[], Any]] = {
    "actor": lambda: ActorDistributionNetwork(VECTOR, ACTIONS, fc_layer_params=(4,), dropout_layer_params=(0.1,)),
    "recurrent actor": lambda: ActorDistributionRnnNetwork(VECTOR, ACTIONS, lstm_size=(4, 3)),
    "encoder": lambda: EncodingNetwork(
        {"a": VECTOR, "b": VECTOR},
        {"a": keras.layers.Dense(2), "b": lambda values: values * 2.0},
        keras.layers.Concatenate(),
    ),
    "sequential": lambda: Sequential(
        [tf.abs, keras.layers.Dense(3), keras.layers.GRUCell(2), tf.nn.relu], input_spec=VECTOR
    ),
    "nest": lambda: Sequential(
        [NestMap({"a": keras.layers.Dense(2), "b": tf.abs}), NestFlatten(), keras.layers.Add()],
        input_spec={"a": VECTOR, "b": TensorSpec((2,), tf.float32)},
    ),
    "critic": lambda: CriticNetwork((VECTOR, VECTOR), joint_fc_layer_params=(3,)),
}


def mode(output: Any) -> Any:
    return output.mode() if hasattr(output, "mode") else output


@pytest.mark.parametrize("name", MAKERS)
def test_network_computes_the_same_from_a_saved_model(name: str, tmp_path: Path) -> None:
    network = MAKERS[name]()
    network.create_variables()

    def run(inputs: Any) -> list[tf.Tensor]:
        return [mode(output) for output in tf.nest.flatten(network(inputs)[0])]

    module = tf.Module()
    module.network = network
    plain = tf.nest.map_structure(
        lambda spec: tf.TensorSpec([None, *spec.shape], spec.dtype), network.input_tensor_spec
    )
    module.run = tf.function(run, input_signature=[plain])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    inputs = tf.nest.map_structure(lambda zeros: zeros + 0.7, zero_spec_nest(network.input_tensor_spec, [4]))
    expected = run(inputs)
    found = loaded.run(inputs)
    assert len(expected) == len(found) > 0
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
