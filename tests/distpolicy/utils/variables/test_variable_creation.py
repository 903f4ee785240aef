from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from distpolicy.utils import common


def test_variable_is_filled_or_initialised() -> None:
    counter = common.create_variable("counter")
    assert (counter.dtype, counter.shape, counter.numpy(), counter.trainable) == (tf.int64, (), 0, False)
    filled = common.create_variable("filled", 2.5, (2,), tf.float32, trainable=True)
    np.testing.assert_array_equal(filled, [2.5, 2.5])
    assert filled.trainable
    assert filled.name.startswith("filled")
    for shape in (None, (), (2,)):
        np.testing.assert_array_equal(common.create_variable("given", [1.0, 2.0], shape, tf.float32), [1.0, 2.0])
    ones = common.create_variable("ones", shape=(2,), dtype=tf.float32, initializer=keras.initializers.Ones())
    np.testing.assert_array_equal(ones, [1.0, 1.0])


def test_shared_variables_are_told_by_identity() -> None:
    one, both, other = (tf.Variable(1.0, name="same") for _ in range(3))
    only_first, only_second, shared = common.extract_shared_variables([one, both, one], [other, both])
    assert [id(item) for item in (*only_first, *only_second, *shared)] == [id(one), id(other), id(both)]
