"""Making variables, and telling which are shared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf


def create_variable(
    name: str,
    initial_value: Any = 0,
    shape: Any = (),
    dtype: Any = tf.int64,
    use_local_variable: bool = False,
    trainable: bool = False,
    initializer: Any = None,
    unique_name: bool = True,
) -> tf.Variable:
    """A variable filled with one value, or by an initializer.

    Args:
        name: Its name.
        initial_value: A number that fills the shape, or an array, whose shape is the variable's.
        shape: Its shape; None for the initial value's.
        dtype: Its dtype.
        use_local_variable: Without effect in TensorFlow 2.
        trainable: Whether it is trained.
        initializer: Called with the shape and the dtype in place of the initial value; or None.
        unique_name: Without effect in TensorFlow 2, where names need not be unique.
    """
    if initializer is not None:
        value = initializer(() if shape is None else shape, dtype=dtype)
    else:
        value = tf.cast(initial_value, dtype)
        if shape is not None and value.shape.rank == 0:
            value = tf.fill(shape, value)
    return tf.Variable(value, trainable=trainable, dtype=dtype, name=name)


def extract_shared_variables(
    variables_1: Iterable[tf.Variable], variables_2: Iterable[tf.Variable]
) -> tuple[list[tf.Variable], list[tf.Variable], list[tf.Variable]]:
    """The variables that only the first have, those that only the second have, and those of both, each once."""
    first = {id(variable): variable for variable in variables_1}
    second = {id(variable): variable for variable in variables_2}
    return (
        [variable for key, variable in first.items() if key not in second],
        [variable for key, variable in second.items() if key not in first],
        [variable for key, variable in first.items() if key in second],
    )
