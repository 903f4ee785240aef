"""Metrics of trajectories of tensors. A driver updates them as its observers, also in a compiled loop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from distpolicy.metrics.tf_deque import TFDeque
from distpolicy.metrics.tf_metric import TFStepMetric
from distpolicy.trajectories.trajectory import Trajectory

_logger = logging.getLogger(__name__)

__all__ = [
    "AverageEpisodeLengthMetric",
    "AverageReturnMetric",
    "AverageReturnMultiMetric",
    "ChosenActionHistogram",
    "EnvironmentSteps",
    "MaxReturnMetric",
    "MinReturnMetric",
    "NumberOfEpisodes",
    "TFDeque",
    "log_metrics",
]


class EnvironmentSteps(TFStepMetric):
    """Counts the steps of all rows. The step from LAST to FIRST does not count.

    Args:
        name: Name of the metric.
        prefix: What the names of its summaries begin with.
        dtype: Dtype of the count.
    """

    def __init__(self, name: str = "EnvironmentSteps", prefix: str = "Metrics", dtype: Any = tf.int64) -> None:
        super().__init__(name, prefix)
        self.dtype = dtype
        self.environment_steps = tf.Variable(0, dtype=dtype, trainable=False, name="environment_steps")

    def call(self, trajectory: Trajectory) -> Trajectory:
        steps = tf.cast(tf.logical_not(trajectory.is_boundary()), self.dtype)
        self.environment_steps.assign_add(tf.reduce_sum(steps))
        return trajectory

    def result(self) -> tf.Tensor:
        return tf.identity(self.environment_steps)

    def reset(self) -> None:
        self.environment_steps.assign(0)


class NumberOfEpisodes(TFStepMetric):
    """Counts the episodes of all rows when they arrive at LAST.

    Args:
        name: Name of the metric.
        prefix: What the names of its summaries begin with.
        dtype: Dtype of the count.
    """

    def __init__(self, name: str = "NumberOfEpisodes", prefix: str = "Metrics", dtype: Any = tf.int64) -> None:
        super().__init__(name, prefix)
        self.dtype = dtype
        self.number_episodes = tf.Variable(0, dtype=dtype, trainable=False, name="number_episodes")

    def call(self, trajectory: Trajectory) -> Trajectory:
        self.number_episodes.assign_add(tf.reduce_sum(tf.cast(trajectory.is_last(), self.dtype)))
        return trajectory

    def result(self) -> tf.Tensor:
        return tf.identity(self.number_episodes)

    def reset(self) -> None:
        self.number_episodes.assign(0)


class _EpisodeMetric(TFStepMetric):
    """Adds up something over each row's episode, and keeps the sums of the last episodes.

    Args:
        name: Name of the metric.
        prefix: What the names of its summaries begin with.
        dtype: Dtype of the sums.
        batch_size: Number of rows.
        buffer_size: Number of episodes that are kept.
    """

    def __init__(self, name: str, prefix: str, dtype: Any, batch_size: int, buffer_size: int) -> None:
        super().__init__(name, prefix)
        self.dtype = dtype
        self._buffer = TFDeque(buffer_size, dtype)
        self._sums = tf.Variable(tf.zeros([batch_size], dtype), trainable=False, name="sums")

    def call(self, trajectory: Trajectory) -> Trajectory:
        sums = tf.where(trajectory.is_first(), tf.zeros_like(self._sums), self._sums) + self._summand(trajectory)
        self._sums.assign(sums)
        self._buffer.extend(tf.boolean_mask(sums, trajectory.is_last()))
        return trajectory

    def reset(self) -> None:
        self._buffer.clear()
        self._sums.assign(tf.zeros_like(self._sums))

    def _summand(self, trajectory: Trajectory) -> tf.Tensor:
        """Returns what a step adds, ``[B]``: the reward, or the sum of a vector of rewards."""
        reward = tf.cast(trajectory.reward, self.dtype)
        return tf.reduce_sum(reward, axis=list(range(1, reward.shape.rank)))


class AverageReturnMetric(_EpisodeMetric):
    """The mean of the undiscounted returns of the last episodes; 0 before the first.

    Args:
        name: Name of the metric.
        prefix: What the names of its summaries begin with.
        dtype: Dtype of the returns.
        batch_size: Number of rows.
        buffer_size: Number of episodes.
    """

    def __init__(
        self,
        name: str = "AverageReturn",
        prefix: str = "Metrics",
        dtype: Any = tf.float32,
        batch_size: int = 1,
        buffer_size: int = 10,
    ) -> None:
        super().__init__(name, prefix, dtype, batch_size, buffer_size)

    def result(self) -> tf.Tensor:
        return self._buffer.mean()


class MaxReturnMetric(_EpisodeMetric):
    """The largest undiscounted return of the last episodes; see :class:`AverageReturnMetric`."""

    def __init__(
        self,
        name: str = "MaxReturn",
        prefix: str = "Metrics",
        dtype: Any = tf.float32,
        batch_size: int = 1,
        buffer_size: int = 10,
    ) -> None:
        super().__init__(name, prefix, dtype, batch_size, buffer_size)

    def result(self) -> tf.Tensor:
        return self._buffer.max()


class MinReturnMetric(_EpisodeMetric):
    """The smallest undiscounted return of the last episodes; see :class:`AverageReturnMetric`."""

    def __init__(
        self,
        name: str = "MinReturn",
        prefix: str = "Metrics",
        dtype: Any = tf.float32,
        batch_size: int = 1,
        buffer_size: int = 10,
    ) -> None:
        super().__init__(name, prefix, dtype, batch_size, buffer_size)

    def result(self) -> tf.Tensor:
        return self._buffer.min()


class AverageEpisodeLengthMetric(_EpisodeMetric):
    """The mean number of steps of the last episodes; see :class:`AverageReturnMetric`."""

    def __init__(
        self,
        name: str = "AverageEpisodeLength",
        prefix: str = "Metrics",
        dtype: Any = tf.float32,
        batch_size: int = 1,
        buffer_size: int = 10,
    ) -> None:
        super().__init__(name, prefix, dtype, batch_size, buffer_size)

    def result(self) -> tf.Tensor:
        return self._buffer.mean()

    def _summand(self, trajectory: Trajectory) -> tf.Tensor:
        return tf.cast(tf.logical_not(trajectory.is_boundary()), self.dtype)


class ChosenActionHistogram(TFStepMetric):
    """The last actions.

    Args:
        name: Name of the metric.
        dtype: Dtype of the actions, which are scalars.
        buffer_size: Number of actions.
    """

    def __init__(self, name: str = "ChosenActionHistogram", dtype: Any = tf.int32, buffer_size: int = 100) -> None:
        super().__init__(name)
        self._dtype = dtype
        self._buffer = TFDeque(buffer_size, dtype)

    def call(self, trajectory: Trajectory) -> Trajectory:
        self._buffer.extend(tf.cast(trajectory.action, self._dtype))
        return trajectory

    def result(self) -> tf.Tensor:
        return self._buffer.data

    def reset(self) -> None:
        self._buffer.clear()


class AverageReturnMultiMetric(TFStepMetric):
    """The mean returns of the last episodes for a nest of rewards.

    Args:
        reward_spec: Nest of specs of one reward.
        name: Name of the metric.
        prefix: What the names of its summaries begin with.
        dtype: Ignored, as in TF-Agents: the rewards' own dtypes are kept.
        batch_size: Number of rows.
        buffer_size: Number of episodes.
    """

    def __init__(
        self,
        reward_spec: Any,
        name: str = "AverageReturnMultiMetric",
        prefix: str = "Metrics",
        dtype: Any = tf.float32,
        batch_size: int = 1,
        buffer_size: int = 10,
    ) -> None:
        super().__init__(name, prefix)
        specs = tf.nest.flatten(reward_spec)
        # Hidden from tf.Module's tracking, which would wrap the user's lists and dicts.
        object.__setattr__(self, "_reward_spec", reward_spec)
        self._buffers = [TFDeque(buffer_size, spec.dtype, spec.shape) for spec in specs]
        self._sums = [tf.Variable(tf.zeros([batch_size, *spec.shape], spec.dtype), trainable=False) for spec in specs]

    def call(self, trajectory: Trajectory) -> Trajectory:
        tf.nest.assert_same_structure(trajectory.reward, self._reward_spec)
        for buffer, total, reward in zip(self._buffers, self._sums, tf.nest.flatten(trajectory.reward), strict=True):
            is_first = tf.reshape(trajectory.is_first(), [-1] + [1] * (total.shape.rank - 1))
            sums = tf.where(is_first, tf.zeros_like(total), total) + reward
            total.assign(sums)
            buffer.extend(tf.boolean_mask(sums, trajectory.is_last()))
        return trajectory

    def result(self) -> Any:
        return tf.nest.pack_sequence_as(self._reward_spec, [buffer.mean() for buffer in self._buffers])

    def reset(self) -> None:
        for buffer, total in zip(self._buffers, self._sums, strict=True):
            buffer.clear()
            total.assign(tf.zeros_like(total))


def log_metrics(metrics: Sequence[Any], prefix: str = "") -> None:
    """Logs the values of metrics, one a line, by the standard library's logging."""
    lines = [f"{metric.name} = {metric.result()}" for metric in metrics]
    _logger.info("%s \n\t\t %s", prefix, "\n\t\t ".join(lines))
