"""BatchedPyMetric: a metric of single trajectories for batches of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.metrics.py_metric import PyMetric, PyStepMetric
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.nest_utils import unstack_nested_arrays


class BatchedPyMetric(PyStepMetric):
    """Keeps one metric for each row of a batch. Its value is the class's ``aggregate`` of them.

    Args:
        metric_class: Class of the metrics.
        metric_args: Arguments of each.
        name: Name of the metric; None for the class's own.
        batch_size: Number of rows; None to take it from the first trajectory.
        dtype: Dtype of the result before the first trajectory, which is 0.
        prefix: What the names of its summaries begin with.
    """

    def __init__(
        self,
        metric_class: type[PyMetric],
        metric_args: Mapping[str, Any] | None = None,
        name: str | None = None,
        batch_size: int | None = None,
        dtype: Any = np.float32,
        prefix: str = "Metrics",
    ) -> None:
        self._metric_class = metric_class
        self._metric_args = dict(metric_args or {})
        super().__init__(name or self._make().name, prefix)
        self._dtype = np.dtype(dtype)
        self._metrics: Sequence[PyMetric] = ()
        if batch_size is not None:
            self.build(batch_size)

    def build(self, batch_size: int) -> None:
        """Makes the metrics of the rows."""
        self._metrics = [self._make() for _ in range(batch_size)]

    def call(self, batched_trajectory: Trajectory) -> None:
        """Updates each row's metric by a trajectory of arrays ``[B, ...]``.

        Raises:
            ValueError: If the number of rows is not that of the metrics.
        """
        rows = unstack_nested_arrays(batched_trajectory)
        if not self._metrics:
            self.build(len(rows))
        if len(rows) != len(self._metrics):
            raise ConfigError(f"{self.name} was made for {len(self._metrics)} rows, but the batch has {len(rows)}")
        for metric, row in zip(self._metrics, rows, strict=True):
            metric(row)

    def result(self) -> Any:
        if not self._metrics:
            return np.zeros((), self._dtype)
        return self._metric_class.aggregate(self._metrics)

    def reset(self) -> None:
        for metric in self._metrics:
            metric.reset()

    @staticmethod
    def aggregate(metrics: Sequence[PyMetric]) -> Any:
        """Is not defined.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("BatchedPyMetric has no aggregate(); aggregate the metrics of its rows")

    def _make(self) -> PyMetric:
        return self._metric_class(**self._metric_args)
