"""Calling a traced function with as little Python as can be.

TensorFlow's own call of a concrete function costs several times what a small network does: for a 64×64 actor and a
batch of 64, 170 µs against 50 µs by the two entry points used here, both of TensorFlow's C interface. They are not
public; a TensorFlow without them is called in the ordinary way, which is slower and just as right.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_logger = logging.getLogger(__name__)

FlatCall = Callable[[Sequence[Any]], Sequence[tf.Tensor]]


def flat_call(concrete: Any, example: Sequence[Any]) -> FlatCall:
    """A function of a concrete function's flat inputs, arrays or tensors, that returns its flat outputs.

    Args:
        concrete: A concrete function of flat tensors that returns a flat list of tensors.
        example: Inputs to try it with, once.
    """

    def ordinary(inputs: Sequence[Any]) -> Sequence[tf.Tensor]:
        return concrete(*[tf.convert_to_tensor(item) for item in inputs])

    # The first call: what XLA cannot compile is found here, and is the caller's to handle.
    expected = ordinary(example)
    try:
        direct = _direct_call(concrete, len(expected))
        found = direct(example)
        if [(item.dtype, item.shape) for item in found] != [(item.dtype, item.shape) for item in expected]:
            raise TypeError("outputs differ from those of an ordinary call")
    except Exception as error:  # Whatever another TensorFlow does with entry points that it does not promise.
        _logger.info("functions are called in the ordinary way: %s", error)
        return ordinary
    return direct


def _direct_call(concrete: Any, num_outputs: int) -> FlatCall:
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import context as eager_context
    from tensorflow.python.framework.ops import EagerTensor

    context = eager_context.context()
    context.ensure_initialized()
    handle, execute = context._handle, pywrap_tfe.TFE_Py_Execute
    name = concrete._inference_function.name
    name = name.decode() if isinstance(name, bytes) else name
    attributes = ("executor_type", "", "config_proto", context.function_call_options.config_proto_serialized)
    captured = list(concrete.captured_inputs)

    def direct(inputs: Sequence[Any]) -> Sequence[tf.Tensor]:
        # No device: where it runs follows from the inputs, and naming it costs a second look at every tensor.
        tensors = [EagerTensor(item, None, None) if isinstance(item, np.ndarray) else item for item in inputs]
        return execute(handle, None, name, tensors + captured, attributes, num_outputs)

    # The function must outlive this: the runtime knows it by its name only.
    direct.function = concrete  # type: ignore[attr-defined]
    return direct
