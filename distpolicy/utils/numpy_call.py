"""numpy_call: a function of arrays as a part of a compiled function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def numpy_call(
    function: Callable[..., Sequence[np.ndarray]], inputs: Sequence[Any], outputs: Sequence[tf.TensorSpec]
) -> list[tf.Tensor]:
    """Calls a function of arrays: now, or in a graph wherever it runs, once for each run.

    Outside graphs the function's exceptions arrive as they are. In a graph a ValueError becomes TensorFlow's
    InvalidArgumentError.

    Args:
        function: From arrays to arrays that it does not change later.
        inputs: Tensors or arrays.
        outputs: Specs of what it returns.

    Returns:
        The tensors.
    """
    dtypes = [tf.as_dtype(spec.dtype) for spec in outputs]
    if tf.executing_eagerly():
        # tf.numpy_function would return a single output without its list.
        arrays = function(*[np.asarray(leaf) for leaf in inputs])
        tensors = [tf.constant(array, dtype) for array, dtype in zip(arrays, dtypes, strict=True)]
    else:
        tensors = tf.numpy_function(function, inputs, dtypes)
    for tensor, spec in zip(tensors, outputs, strict=True):
        tensor.set_shape(spec.shape)
    return tensors
