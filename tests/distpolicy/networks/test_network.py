from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
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


class PlainNetwork(Network):
    """Takes neither step types nor a state nor a mode."""

    def __init__(self, input_tensor_spec: Any = None, units: int = 2, *, bias: bool = True, **others: Any) -> None:
        super().__init__(input_tensor_spec, name=others.get("name"))
        self.dense = keras.layers.Dense(units, use_bias=bias)
        self.others = others

    def call(self, observation: Any) -> Any:  # type: ignore[override]
        return self.dense(observation), ()


class AskingNetwork(Network):
    """Returns what it was called with."""

    def call(self, observation: Any, network_state: Any = (), mask: Any = None, *, scale: float = 1.0) -> Any:  # type: ignore[override]
        return {"scaled": observation * scale, "masked": tf.constant(mask is not None)}, network_state


def test_arguments_that_call_lacks_are_left_out() -> None:
    network = PlainNetwork(VECTOR)
    step_type = tf.zeros([4], tf.int32)
    outputs, state = network(tf.ones([4, 3]), step_type=step_type, network_state=(), training=True, mask=None)
    assert outputs.shape == (4, 2)
    assert state == ()
    with pytest.raises(TypeError, match="mask"):
        network(tf.ones([4, 3]), mask=tf.ones([4, 2]))
    with pytest.raises(TypeError, match="takes 0 arguments"):
        network(tf.ones([4, 3]), step_type)


def test_arguments_of_its_own_reach_call_by_place_and_by_name() -> None:
    network = AskingNetwork(VECTOR)
    outputs, _ = network(tf.ones([4, 3]), (), tf.ones([4]), scale=2.0)
    np.testing.assert_array_equal(outputs["scaled"], np.full((4, 3), 2.0))
    assert outputs["masked"]
    assert not network(tf.ones([4, 3]), step_type=tf.ones([4], tf.int32))[0]["masked"]
    with pytest.raises(TypeError, match="twice"):
        network(tf.ones([4, 3]), (), network_state=())


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        (tf.ones([4, 2]), r"inputs: expected .*\(3,\), got \(4, 2\)"),
        (tf.ones([4, 3], tf.float64), "expected dtype float32, got float64"),
        ((tf.ones([4, 3]),), "structure"),
        (tf.ones([]), r"\(3,\)"),
    ],
)
def test_inputs_that_do_not_match_the_specs_are_refused(inputs: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        PlainNetwork(VECTOR)(inputs)


class NestNetwork(Network):
    """Returns its nest of inputs."""

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        return observation, network_state


def test_leaf_that_does_not_match_is_named_and_extra_keys_are_dropped() -> None:
    network = NestNetwork({"a": VECTOR, "b": {"c": ArraySpec((), np.int32)}})
    good = {"a": tf.ones([4, 3]), "b": {"c": tf.ones([4], tf.int32)}, "more": tf.ones([7])}
    assert set(network(good)[0]) == {"a", "b"}
    with pytest.raises(ValueError, match="inputs/b/c: expected dtype int32"):
        network({**good, "b": {"c": tf.ones([4])}})


def test_arrays_are_taken_for_tensors() -> None:
    values = np.ones((4, 3), np.float32)
    network = PlainNetwork(VECTOR)
    np.testing.assert_array_equal(network(values)[0], network(tf.constant(values))[0])


def test_creating_variables_tells_the_outputs_specs_and_does_so_once() -> None:
    network = PlainNetwork()
    with pytest.raises(ValueError, match="input_tensor_spec"):
        network.create_variables()
    with pytest.raises(ValueError, match="input_tensor_spec"):
        _ = network.variables
    assert not network.built
    spec = network.create_variables(VECTOR)
    assert network.built
    assert (spec.shape, spec.dtype) == ((2,), tf.float32)
    before = network.variables
    assert network.create_variables(ArraySpec((9,), np.float32)) is spec
    assert all(left is right for left, right in zip(before, network.variables, strict=True))
    assert network.input_tensor_spec.shape == (3,)
    rich = RichNetwork().create_variables()
    assert {name: item.shape for name, item in rich.items()} == {"mean": (2,), "scale": (2,)}


def test_copy_takes_the_arguments_but_for_those_that_are_given() -> None:
    network = PlainNetwork(VECTOR, 5, bias=False, name="First", note="kept")
    copied = network.copy(name="Second", units=4)
    assert (network.name, copied.name) == ("First", "Second")
    assert copied.others == {"name": "Second", "note": "kept"}
    assert [variable.shape for variable in copied.variables] == [(3, 4)]
    assert [variable.shape for variable in network.copy().variables] == [(3, 5)]
    assert not {id(item) for item in network.copy().variables} & {id(item) for item in network.variables}
    with pytest.raises(TypeError, match="'units'"):
        RichNetwork().copy(units=3)


def test_names_that_python_cannot_hold_are_taken() -> None:
    assert PlainNetwork(VECTOR, name="Target-Q/1").name == "Target_Q_1"
    assert PlainNetwork(VECTOR, name="2nd").name == "_2nd"


def test_call_that_returns_no_pair_is_refused() -> None:
    class Wrong(Network):
        def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
            return observation

    with pytest.raises(TypeError, match=r"must return \(outputs, network_state\)"):
        Wrong(VECTOR)(tf.ones([4, 3]))


def test_state_of_other_keys_or_shapes_is_refused() -> None:
    network = RichNetwork()
    with pytest.raises(ValueError, match="network_state"):
        network(tf.ones([2, 3]), network_state={"other": tf.zeros([2, 4])})
    with pytest.raises(ValueError, match="network_state/h"):
        network(tf.ones([2, 3]), network_state={"h": tf.zeros([2, 5])})


def test_layers_are_those_that_there_are() -> None:
    network = RichNetwork()
    kinds = [type(layer).__name__ for layer in network.layers]
    assert sorted(kinds) == sorted(
        ["Dense", "BatchNormalization", "Dropout", "Dense", "Dense", "GRUCell", "Sequential"]
    )
