from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from distpolicy.utils.variables.module_variables import named_variables
from distpolicy.utils.variables.pairing import natural_key


class Module(tf.Module):
    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


def paths(root: tf.Module) -> list[str]:
    return [item.path for item in named_variables(root)]


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["dense_10", "dense_9", "dense", "dense_9/bias", "a10b2", "a10b10", "a9"]
    assert sorted(names, key=natural_key) == ["a9", "a10b2", "a10b10", "dense", "dense_9", "dense_9/bias", "dense_10"]
    assert sorted(["9", "a", "10", ""], key=natural_key) == ["", "9", "10", "a"]


def test_attributes_are_visited_in_natural_order_and_not_in_that_of_assignment() -> None:
    one = Module(_layer_10=tf.Variable(1.0), _layer_9=tf.Variable(2.0), a=tf.Variable(3.0))
    other = Module(a=tf.Variable(3.0), _layer_9=tf.Variable(2.0), _layer_10=tf.Variable(1.0))
    assert paths(one) == paths(other) == ["layer_9", "layer_10", "a"]


def test_variable_that_is_shared_counts_once() -> None:
    shared = tf.Variable(1.0)
    root = Module(first=Module(weight=shared), second=[Module(weight=shared), shared])
    assert paths(root) == ["first/weight"]


def test_modules_that_hold_each_other_end() -> None:
    left, right = Module(weight=tf.Variable(1.0)), Module(weight=tf.Variable(2.0))
    left.other, right.other = right, left
    assert paths(left) == ["other/weight", "weight"]


def test_keras_variables_and_layers_in_nests_are_found() -> None:
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    root = Module(nest={"b": (dense,), "a": keras.Variable([1.0])}, dropout=keras.layers.Dropout(0.5, seed=1))
    assert paths(root) == ["nest/a", "nest/b/0/kernel", "nest/b/0/bias"]
    assert all(isinstance(item.variable, tf.Variable) for item in named_variables(root))


def test_layers_inside_a_layer_have_paths_of_their_own() -> None:
    def model() -> keras.Sequential:
        return keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)])

    first, second = paths(Module(model=model())), paths(Module(model=model()))
    assert len(set(first)) == 4
    assert first == second


def test_keys_that_read_like_nested_ones_have_paths_of_their_own() -> None:
    root = Module(nest={"arm": {"pos": tf.Variable(1.0)}, "arm/pos": tf.Variable(2.0), "arm~1pos": tf.Variable(3.0)})
    found = {item.path: float(item.variable.numpy()) for item in named_variables(root)}
    assert found == {"nest/arm/pos": 1.0, "nest/arm~1pos": 2.0, "nest/arm~01pos": 3.0}


def test_frozen_layers_of_keras_are_not_trained() -> None:
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    root = Module(layer=layer)
    for trainable in (True, False, True):
        layer.trainable = trainable
        assert [item.variable.trainable for item in named_variables(root)] == [trainable, trainable]
