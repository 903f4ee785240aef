"""TFPyMetric: a metric over arrays that takes tensors, also in compiled functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.metrics.py_metric import PyMetric
from distpolicy.metrics.tf_metric import TFStepMetric
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.nests.array_nest import flatten, leaf_places, packer
from distpolicy.utils.numpy_call import numpy_call


class TFPyMetric(TFStepMetric):
    """Wraps a PyMetric. In a compiled function it runs in Python.

    Args:
        py_metric: The metric.
        name: Name of the metric; None for the wrapped one's.
        dtype: Dtype of the result.
    """

    def __init__(self, py_metric: PyMetric, name: str | None = None, dtype: Any = tf.float32) -> None:
        super().__init__(name or py_metric.name, py_metric.prefix)
        self._py_metric, self._dtype = py_metric, tf.as_dtype(dtype)

    def call(self, trajectory: Trajectory) -> Trajectory:
        pack = packer(leaf_places(trajectory))
        leaves = flatten(trajectory)
        done = tf.numpy_function(lambda *arrays: self._py_metric(pack(arrays)), leaves, [])
        with tf.control_dependencies([done]):
            return tf.nest.map_structure(tf.identity, trajectory)

    def result(self) -> tf.Tensor:
        spec = tf.TensorSpec((), self._dtype)
        return numpy_call(lambda: [np.asarray(self._py_metric.result(), self._dtype.as_numpy_dtype)], [], [spec])[0]

    def reset(self) -> Any:
        return tf.numpy_function(self._py_metric.reset, [], [])
