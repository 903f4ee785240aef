"""flat_call: calls a traced function with as little Python as possible.

TensorFlow's own call of a concrete function takes several times as long as a small network. For a 64×64 actor and a
batch of 64 it takes 170 µs, but 50 µs by the two entry points of TensorFlow's C interface that are used here. They are
not public. A TensorFlow version without them is called in the ordinary way, which is slower but equally correct.
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
    """Returns a fast function that takes a concrete function's flat inputs and returns its flat outputs.

    Args:
        concrete: A concrete function of flat tensors that returns a flat list of tensors.
        example: Arrays or tensors for one test call.
    """

    def ordinary(inputs: Sequence[Any]) -> Sequence[tf.Tensor]:
        return concrete(*[tf.convert_to_tensor(item) for item in inputs])

    # In this first call XLA raises an error for what it cannot compile. The caller handles it.
    expected = ordinary(example)
    try:
        direct = _direct_call(concrete, len(expected))
        found = direct(example)
        if [(item.dtype, item.shape) for item in found] != [(item.dtype, item.shape) for item in expected]:
            raise TypeError("outputs differ from those of an ordinary call")
    except Exception as error:  # Other TensorFlow versions may fail in any way, since the entry points are private.
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
        # The device follows from the inputs. Naming it would make TensorFlow check every tensor again.
        tensors = [EagerTensor(item, None, None) if isinstance(item, np.ndarray) else item for item in inputs]
        return execute(handle, None, name, tensors + captured, attributes, num_outputs)

    # The runtime knows the function only by its name, so this reference must keep it alive.
    direct.function = concrete  # type: ignore[attr-defined]
    return direct
