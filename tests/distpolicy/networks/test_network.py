from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from distpolicy.networks.network import Network
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.specs.tensor_spec import TensorSpec

VECTOR = ArraySpec((3,), np.float32)


class RichNetwork(Network):
    """Layers in lists and dicts, one used twice, a Keras model, and variables of its own."""

    def __init__(self) -> None:
        super().__init__(VECTOR, {"h": TensorSpec((4,), tf.float32)})
        self._layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)]
        self._heads = {"mean": keras.layers.Dense(2), "scale": keras.layers.Dense(2)}
        self._shared = self._layers[0]
        self._cell = keras.layers.GRUCell(4)
        self._model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(4)])
        self._many = [tf.Variable(float(index)) for index in range(11)]
        self._temperature = tf.Variable(1.0, name="temperature")
        self._calls = tf.Variable(0, trainable=False, name="calls")

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        values = observation
        for layer in self._layers:
            values = layer(values) if isinstance(layer, keras.layers.Dense) else layer(values, training=training)
        hidden, _ = self._cell(self._model(values), network_state["h"])
        return {name: head(hidden) for name, head in self._heads.items()}, {"h": hidden}


def test_every_variable_is_found_once_by_a_path_in_natural_order() -> None:
    network = RichNetwork()
    paths = [item.path for item in network.named_variables()]
    assert len(set(paths)) == len(paths)
    assert len({id(variable) for variable in network.variables}) == len(network.variables)
    # Dense; two trained and two running statistics of BatchNormalization; nothing of Dropout.
    assert [path for path in paths if path.startswith("layers/")] == [
        "layers/0/kernel",
        "layers/0/bias",
        "layers/1/gamma",
        "layers/1/beta",
        "layers/1/moving_mean",
        "layers/1/moving_variance",
    ]
    assert [path for path in paths if path.startswith("many/")] == [f"many/{index}" for index in range(11)]
    assert [path for path in paths if path.startswith("heads/")] == [
        "heads/mean/kernel",
        "heads/mean/bias",
        "heads/scale/kernel",
        "heads/scale/bias",
    ]
    assert sum(path.startswith("model/") for path in paths) == 4
    assert sum(path.startswith("cell/") for path in paths) == 3
    assert {"temperature", "calls"} <= set(paths)
    assert not any(path.startswith("shared") for path in paths)
    assert len(paths) == 6 + 11 + 4 + 4 + 3 + 2


def test_dropout_s_seed_state_is_no_weight() -> None:
    network = RichNetwork()
    network.create_variables()
    seed_state = network._layers[2].variables
    assert seed_state
    assert not {id(item.value) for item in seed_state} & {id(item) for item in network.variables}


def test_trainable_and_other_variables_are_told_apart() -> None:
    network = RichNetwork()
    by_path = {item.path: item.variable for item in network.named_variables()}
    others = {path for path, variable in by_path.items() if not variable.trainable}
    assert others == {"layers/1/moving_mean", "layers/1/moving_variance", "calls"}
    assert len(network.non_trainable_variables) == 3
    assert len(network.trainable_variables) + 3 == len(network.variables)
    assert all(isinstance(variable, tf.Variable) for variable in network.variables)


def test_two_instances_in_one_process_have_the_same_paths() -> None:
    first, second = RichNetwork(), RichNetwork()
    assert [item.path for item in first.named_variables()] == [item.path for item in second.named_variables()]
    assert [variable.shape for variable in first.variables] == [variable.shape for variable in second.variables]
    assert not {id(item) for item in first.variables} & {id(item) for item in second.variables}


def test_order_is_stable_over_use() -> None:
    network = RichNetwork()
    before = [item.path for item in network.named_variables()]
    network(tf.ones([2, 3]), network_state=network.get_initial_state(2), training=True)
    assert [item.path for item in network.named_variables()] == before


def test_variables_are_the_ones_that_the_network_computes_with() -> None:
    network = RichNetwork()
    state = network.get_initial_state(2)
    before = network(tf.ones([2, 3]), network_state=state)[0]["mean"].numpy()
    for variable in network.variables:
        if variable.dtype.is_floating:
            variable.assign(tf.zeros_like(variable))
    after = network(tf.ones([2, 3]), network_state=state)[0]["mean"].numpy()
    assert before.any()
    assert not after.any()


def test_training_mode_moves_the_running_statistics() -> None:
    network = RichNetwork()
    observation = tf.constant(np.random.default_rng(0).normal(3.0, size=(16, 3)).astype(np.float32))
    statistics = {item.path: item.variable for item in network.named_variables()}["layers/1/moving_mean"]
    network(observation, network_state=network.get_initial_state(16))
    assert not statistics.numpy().any()
    network(observation, network_state=network.get_initial_state(16), training=True)
    assert statistics.numpy().all()


def test_variables_can_be_created_inside_a_function() -> None:
    network = RichNetwork()

    @tf.function
    def run(observation: tf.Tensor) -> tf.Tensor:
        return network(observation, network_state=network.get_initial_state(2))[0]["mean"]

    traced = run(tf.ones([2, 3]))
    eager = network(tf.ones([2, 3]), network_state=network.get_initial_state(2))[0]["mean"]
    np.testing.assert_allclose(traced, eager, rtol=1e-5, atol=1e-6)


def test_initial_state_is_zeros_with_or_without_a_batch_size() -> None:
    network = RichNetwork()
    assert network.get_initial_state()["h"].shape == (4,)
    assert network.get_initial_state(5)["h"].shape == (5, 4)
    assert network.get_initial_state(tf.constant(2))["h"].shape == (2, 4)
    assert not network.get_initial_state(5)["h"].numpy().any()
    assert isinstance(network.state_spec, dict)
