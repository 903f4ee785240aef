"""Functions that create variables and find shared ones."""

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
    """Creates a variable from an initial value or by an initializer.

    Args:
        name: The variable's name.
        initial_value: A number that fills the shape, or an array with the variable's shape.
        shape: The variable's shape; None for the initial value's.
        dtype: The variable's dtype.
        use_local_variable: Ignored; it has no meaning in TensorFlow 2.
        trainable: Whether the variable is trained.
        initializer: Function of the shape and the dtype that replaces the initial value, or None.
        unique_name: Ignored; names need not be unique in TensorFlow 2.
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
    """Returns the variables only in ``variables_1``, those only in ``variables_2``, and those in both, each once."""
    first = {id(variable): variable for variable in variables_1}
    second = {id(variable): variable for variable in variables_2}
    return (
        [variable for key, variable in first.items() if key not in second],
        [variable for key, variable in second.items() if key not in first],
        [variable for key, variable in first.items() if key in second],
    )
