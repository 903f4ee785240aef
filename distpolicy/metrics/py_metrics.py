"""Metrics of trajectories of arrays, with or without a batch dimension."""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from distpolicy.metrics.py_metric import PyMetric, PyStepMetric
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.nests.array_nest import map_structure


class NumpyDeque:
    """Keeps the last ``maxlen`` numbers.

    Args:
        maxlen: Largest number of them; infinity for all.
        dtype: Their dtype.
    """

    def __init__(self, maxlen: float, dtype: Any) -> None:
        self._values: deque[Any] = deque(maxlen=None if np.isinf(maxlen) else int(maxlen))
        self._dtype = np.dtype(dtype)

    @property
    def last(self) -> Any:
        """The newest number.

        Raises:
            RuntimeError: If there is none.
        """
        if not self._values:
            raise RuntimeError("the NumpyDeque is empty")
        return self._values[-1]

    def add(self, value: Any) -> None:
        """Adds a number."""
        self._values.append(self._dtype.type(value))

    def extend(self, values: Iterable[Any]) -> None:
        """Adds numbers in their order."""
        for value in values:
            self.add(value)

    def clear(self) -> None:
        """Removes all numbers."""
        self._values.clear()

    def mean(self, dtype: Any = None) -> Any:
        """Returns the mean of the numbers; NaN if there are none."""
        return np.mean(np.array(self._values, self._dtype), dtype=dtype)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)


class StreamingMetric(PyStepMetric):
    """The mean of the last values; 0 if there are none. A subclass defines ``_reset`` and ``_batched_call``.

    Args:
        name: Name of the metric.
        buffer_size: Number of values.
        batch_size: Number of rows; None to take it from the first trajectory.
    """

    def __init__(self, name: str = "StreamingMetric", buffer_size: float = 10, batch_size: int | None = None) -> None:
        super().__init__(name)
        self._buffer = NumpyDeque(buffer_size, np.float64)
        self._batch_size = batch_size
        self.reset()

    @property
    def data(self) -> NumpyDeque:
        """The values."""
        return self._buffer

    def add_to_buffer(self, values: Iterable[Any]) -> None:
        """Adds values."""
        self._buffer.extend(values)

    def reset(self) -> None:
        self._buffer.clear()
        if self._batch_size:
            self._reset(self._batch_size)

    def result(self) -> np.float32:
        return self._buffer.mean(np.float32) if len(self._buffer) else np.float32(0.0)

    def call(self, trajectory: Trajectory) -> None:
        trajectory = _batched(trajectory)
        if not self._batch_size:
            self._batch_size = len(trajectory.step_type)
            self._reset(self._batch_size)
        self._batched_call(trajectory)

    @abc.abstractmethod
    def _reset(self, batch_size: int) -> None:
        """Begins to count anew in each row."""

    @abc.abstractmethod
    def _batched_call(self, trajectory: Trajectory) -> None:
        """Updates the metric by a trajectory ``[B, ...]``."""


class _EpisodeMetric(StreamingMetric):
    """Adds up something over each row's episode."""

    def _reset(self, batch_size: int) -> None:
        self._sums = np.zeros(batch_size)

    def _batched_call(self, trajectory: Trajectory) -> None:
        self._sums = np.where(trajectory.is_first(), 0.0, self._sums) + self._summand(trajectory)
        self.add_to_buffer(self._sums[trajectory.is_last()])

    @abc.abstractmethod
    def _summand(self, trajectory: Trajectory) -> np.ndarray:
        """Returns what a step adds, ``[B]``."""


class AverageReturnMetric(_EpisodeMetric):
    """The mean of the undiscounted returns of the last episodes; see :class:`StreamingMetric`."""

    def __init__(self, name: str = "AverageReturn", buffer_size: float = 10, batch_size: int | None = None) -> None:
        super().__init__(name, buffer_size, batch_size)

    def _summand(self, trajectory: Trajectory) -> np.ndarray:
        return np.asarray(trajectory.reward)


class AverageEpisodeLengthMetric(_EpisodeMetric):
    """The mean number of steps of the last episodes; see :class:`StreamingMetric`."""

    def __init__(
        self, name: str = "AverageEpisodeLength", buffer_size: float = 10, batch_size: int | None = None
    ) -> None:
        super().__init__(name, buffer_size, batch_size)

    def _summand(self, trajectory: Trajectory) -> np.ndarray:
        return ~np.asarray(trajectory.is_boundary())


class EnvironmentSteps(PyStepMetric):
    """Counts the steps of all rows. The step from LAST to FIRST does not count.

    Args:
        name: Name of the metric.
    """

    def __init__(self, name: str = "EnvironmentSteps") -> None:
        super().__init__(name)
        self.reset()

    def reset(self, environment_steps: int = 0) -> None:
        """Begins anew at a number of steps."""
        self._count = np.int64(environment_steps)

    def result(self) -> np.int64:
        return self._count

    def call(self, trajectory: Trajectory) -> None:
        self._count += np.sum(~np.asarray(trajectory.is_boundary()), dtype=np.int64)


class NumberOfEpisodes(PyStepMetric):
    """Counts the episodes of all rows when they arrive at LAST.

    Args:
        name: Name of the metric.
    """

    def __init__(self, name: str = "NumberOfEpisodes") -> None:
        super().__init__(name)
        self.reset()

    def reset(self) -> None:
        self._count = np.int64(0)

    def result(self) -> np.int64:
        return self._count

    def call(self, trajectory: Trajectory) -> None:
        self._count += np.sum(trajectory.is_last(), dtype=np.int64)


class CounterMetric(PyMetric):
    """Counts its calls, which take no arguments.

    Args:
        name: Name of the metric.
    """

    def __init__(self, name: str = "Counter") -> None:
        super().__init__(name)
        self.reset()

    def reset(self) -> None:
        self._count = np.int64(0)

    def call(self) -> None:
        self._count += 1

    def result(self) -> np.int64:
        return self._count


def _batched(trajectory: Trajectory) -> Trajectory:
    if np.ndim(trajectory.step_type):
        return trajectory
    return map_structure(lambda leaf: np.asarray(leaf)[np.newaxis], trajectory)
