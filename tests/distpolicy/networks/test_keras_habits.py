"""What programs do with a network as with a Keras layer: weights, their files, layers and the summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks import layer_utils, sequential
from distpolicy.networks.expand_dims_layer import ExpandDims
from distpolicy.networks.mask_splitter_network import MaskSplitterNetwork
from distpolicy.networks.network import Network
from distpolicy.networks.q_network import QNetwork
from distpolicy.networks.value_rnn_network import ValueRnnNetwork
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.utils.variables.variable_watch import watch

OBSERVATION = TensorSpec((3,), tf.float32)
ACTION = BoundedTensorSpec((), tf.int32, 0, 1)


class Mixed(Network):
    """Two layers, one with statistics, and a variable of its own."""

    def __init__(self) -> None:
        super().__init__(OBSERVATION)
        self._dense = keras.layers.Dense(4, name="first")
        self._norm = keras.layers.BatchNormalization(name="norm")
        self._scale = tf.Variable(2.0)

    def call(self, observation: Any, training: bool = False) -> Any:
        return self._scale * self._norm(self._dense(observation), training=training), ()


def test_weights_are_arrays_in_the_order_of_the_variables() -> None:
    network = Mixed()
    weights = network.get_weights()
    assert [weight.shape for weight in weights] == [tuple(variable.shape) for variable in network.variables]
    assert network.count_params() == 3 * 4 + 4 + 4 * 4 + 1
    network.set_weights([weight + 1 for weight in weights])
    for before, after in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(before + 1, after)
    assert [id(item) for item in network.weights] == [id(item) for item in network.variables]
    assert len(network.trainable_weights) == 5
    assert len(network.non_trainable_weights) == 2


def test_weights_that_do_not_fit_change_nothing() -> None:
    network = Mixed()
    weights = network.get_weights()
    with pytest.raises(ValueError, match="7 variables, but 6 weights"):
        network.set_weights(weights[:-1])
    wrong = [weight + 1 for weight in weights[:-1]] + [np.zeros((9,))]
    with pytest.raises(ValueError, match="has the shape"):
        network.set_weights(wrong)
    for before, after in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_what_holds_copies_of_weights_is_told() -> None:
    class Copies:
        stale = False

    network, copies = Mixed(), Copies()
    watch(network.variables, copies)
    network.set_weights(network.get_weights())
    assert copies.stale


@pytest.mark.parametrize(
    "make",
    [
        Mixed,
        lambda: QNetwork(OBSERVATION, ACTION, fc_layer_params=(5,)),
        lambda: ValueRnnNetwork(OBSERVATION, input_fc_layer_params=(4,), lstm_size=(3,), output_fc_layer_params=None),
        lambda: sequential.Sequential([keras.layers.Dense(4), keras.layers.Dense(2)], input_spec=OBSERVATION),
    ],
)
def test_saved_weights_make_another_network_the_same(make: Any, tmp_path: Path) -> None:
    one, other = make(), make()
    observations = tf.constant([[1.0, -2.0, 0.5]])
    one.save_weights(tmp_path / "network.weights")
    assert not np.allclose(other(observations)[0], one(observations)[0])
    other.load_weights(str(tmp_path / "network.weights"))
    np.testing.assert_array_equal(other(observations)[0], one(observations)[0])


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    network = Mixed()
    network.save_weights(file)
    with pytest.raises(ValueError, match="exists already"):
        network.save_weights(file, overwrite=False)
    with pytest.raises(ValueError, match="another network: only the"):
        QNetwork(OBSERVATION, ACTION).load_weights(file)
    np.save(tmp_path / "pickle.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "damaged").write_bytes(file.read_bytes()[:-50])
    for name in ("pickle.npy", "damaged", "missing"):
        with pytest.raises(ValueError, match="holds no weights"):
            network.load_weights(tmp_path / name)


def test_a_frozen_network_has_nothing_to_train() -> None:
    network = Mixed()
    network.trainable = False
    assert network.trainable_variables == ()
    assert len(network.non_trainable_variables) == 7
    assert not network.get_layer("first").trainable
    network.trainable = True
    assert len(network.trainable_variables) == 5


def test_layers_are_found_by_name_and_place() -> None:
    network = Mixed()
    assert network.get_layer("norm") is network.layers[1]
    assert network.get_layer(index=0).name == "first"
    for arguments in ({}, {"name": "first", "index": 0}, {"name": "third"}, {"index": 2}, {"index": -1}):
        with pytest.raises(ValueError, match="layer"):
            network.get_layer(**arguments)


def test_the_summary_is_a_table_of_layers() -> None:
    lines: list[str] = []
    Mixed().summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "first (Dense)" in text
    assert "3x4 4" in text
    assert [line.split(": ")[1] for line in lines if "params" in line] == ["33", "25", "8"]
    assert lines[1] == "_" * 65
    row = next(line for line in lines if line.startswith("norm"))
    assert row.split()[-1] == "16"

    lines.clear()
    Mixed().summary(line_length=80, positions=[0.5, 0.9, 1.0], print_fn=lines.append)
    assert lines[2].index("Weights") == 40


def test_the_summary_can_be_cut_and_show_what_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    network = Mixed()
    network.get_layer("norm").trainable = False
    layer_utils.print_summary(network, show_trainable=True, layer_range=("norm", "n.*"))
    printed = capsys.readouterr().out
    assert "first" not in printed
    row = next(line for line in printed.splitlines() if line.startswith("norm"))
    assert row.endswith("N")
    for wrong in (("norm", "first"), ("norm",), ("none", "norm")):
        with pytest.raises(ValueError, match="layer_range"):
            layer_utils.print_summary(network, layer_range=wrong)

    class Outer(Network):
        def __init__(self) -> None:
            super().__init__(OBSERVATION)
            self._model = keras.Sequential([keras.layers.Dense(2, name="inside")], name="outside")

        def call(self, observation: Any) -> Any:
            return self._model(observation), ()

    layer_utils.print_summary(Outer(), expand_nested=True)
    assert "  inside (Dense)" in capsys.readouterr().out


@pytest.mark.parametrize("axis", [-1, -2, 0, 1])
def test_expand_dims_keeps_the_batch_first(axis: int) -> None:
    layer = ExpandDims(axis)
    inputs = np.arange(24.0).reshape(2, 3, 4)
    expected = np.expand_dims(inputs, axis if axis < 0 else axis + 1)
    np.testing.assert_array_equal(layer(inputs), expected)
    assert layer.compute_output_shape(inputs.shape) == expected.shape
    assert ExpandDims.from_config(layer.get_config()).axis == axis


class Masked(Network):
    """Adds what the mask says to the observation."""

    def __init__(self) -> None:
        super().__init__(OBSERVATION)
        self._dense = keras.layers.Dense(2)

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), mask: Any = None) -> Any:
        outputs = self._dense(observation)
        return (outputs if mask is None else tf.where(mask, outputs, -1e9)), network_state


@pytest.mark.parametrize("passthrough", [True, False])
def test_a_mask_is_split_off_and_passed_on_if_asked_for(passthrough: bool) -> None:
    spec = {"obs": OBSERVATION, "mask": TensorSpec((2,), tf.bool)}
    network = MaskSplitterNetwork(lambda x: (x["obs"], x["mask"]), Masked(), passthrough, spec)
    observation = {"obs": tf.ones([1, 3]), "mask": tf.constant([[True, False]])}
    outputs, state = network(observation)
    assert state == ()
    assert (float(outputs[0, 1]) == -1e9) == passthrough
    assert len(network.variables) == 2
    copied = network.copy()
    assert {id(item) for item in copied.variables}.isdisjoint({id(item) for item in network.variables})
    with pytest.raises(ValueError, match=r"\(3,\)|\(4,\)|shape"):
        MaskSplitterNetwork(
            lambda x: (x["obs"], x["mask"]), Masked(), passthrough, {**spec, "obs": TensorSpec((4,), tf.float32)}
        )
