"""PyMetric: the base of metrics over arrays."""

from __future__ import annotations

import abc
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.metrics.tf_metric import module_name, write_metric
from distpolicy.trajectories.trajectory import Trajectory

_logger = logging.getLogger(__name__)


class PyMetric(tf.Module):
    """Computes a number from what it is called with. A subclass defines ``call``, ``result`` and ``reset``.

    Args:
        name: Name of the metric.
        prefix: What the names of its summaries begin with.
    """

    def __init__(self, name: str, prefix: str = "Metrics") -> None:
        super().__init__(name=module_name(name))
        self._metric_name, self._prefix = name, prefix

    @property
    def name(self) -> str:
        """Name of the metric."""
        return self._metric_name

    @property
    def prefix(self) -> str:
        """What the names of the metric's summaries begin with."""
        return self._prefix

    def __call__(self, *args: Any) -> None:
        """Updates the metric."""
        self.call(*args)

    @abc.abstractmethod
    def call(self, *args: Any) -> None:
        """Updates the metric. Override it, and call the object itself."""

    @abc.abstractmethod
    def result(self) -> Any:
        """Returns the metric's value."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Begins anew."""

    def log(self) -> None:
        """Logs the value by the standard library's logging."""
        _logger.info("%s/%s = %s", self._prefix, self.name, self.result())

    def tf_summaries(self, train_step: Any = None, step_metrics: Sequence[Any] = ()) -> list[Any]:
        """Writes the value as a scalar to the summary writer that is the default one.

        Args:
            train_step: The step to write it at; None not to.
            step_metrics: Other metrics, at whose values it is written, too.

        Returns:
            Whether it was written, for each summary.
        """
        return write_metric(self, train_step, step_metrics)

    @staticmethod
    def aggregate(metrics: Sequence[PyMetric]) -> Any:
        """Returns the mean of the values of metrics of one class."""
        return np.mean([metric.result() for metric in metrics])


class PyStepMetric(PyMetric):
    """A metric that is called with trajectories, as an observer of a driver."""

    @abc.abstractmethod
    def call(self, trajectory: Trajectory) -> None:
        """Updates the metric by a trajectory of arrays ``[...]`` or ``[B, ...]``."""
