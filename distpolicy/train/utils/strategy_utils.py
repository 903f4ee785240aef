"""TensorFlow's distribution strategy of a program of one process."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def get_strategy(tpu: Any = False, use_gpu: bool = False) -> tf.distribute.Strategy:
    """Returns the strategy of one device. TensorFlow takes a GPU if it has one.

    Args:
        tpu: Must be False.
        use_gpu: Accepted for TF-Agents' callers. Several GPUs learn by ``distpolicy train --learners``.

    Raises:
        NotImplementedError: If ``tpu`` is not False.
    """
    if tpu:
        raise NotImplementedError("TPUs are not supported")
    return tf.distribute.get_strategy()
