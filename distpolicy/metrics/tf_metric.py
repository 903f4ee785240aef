"""TFStepMetric: the base of metrics that count in variables, so that compiled functions can update them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.utils.common import function
from distpolicy.utils.summaries import write_histogram, write_scalar


class TFStepMetric(tf.Module):
    """Takes trajectories as an observer of a driver. A subclass defines ``call``, ``result`` and ``reset``.

    Args:
        name: Name of the metric.
        prefix: What the names of its summaries begin with.
    """

    def __init__(self, name: str, prefix: str = "Metrics") -> None:
        super().__init__(name=module_name(name))
        self._metric_name, self._prefix = name, prefix
        self._update_function = function(self.call)

    @property
    def name(self) -> str:
        """Name of the metric."""
        return self._metric_name

    @property
    def prefix(self) -> str:
        """What the names of the metric's summaries begin with."""
        return self._prefix

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Updates the metric, compiled. Returns what :meth:`call` returns."""
        return self._update_function(*args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Updates the metric and returns its argument. Override it, and call the object itself."""
        raise NotImplementedError(f"{type(self).__name__} must define call()")

    def result(self) -> Any:
        """Returns the metric's value."""
        raise NotImplementedError(f"{type(self).__name__} must define result()")

    def reset(self) -> None:
        """Begins anew."""
        raise NotImplementedError(f"{type(self).__name__} must define reset()")

    def init_variables(self) -> None:
        """Does nothing: variables have their first values from the start."""

    def tf_summaries(self, train_step: Any = None, step_metrics: Sequence[TFStepMetric] = ()) -> list[Any]:
        """Writes the value as a scalar to the summary writer that is the default one.

        Args:
            train_step: The step to write it at; None not to.
            step_metrics: Other metrics, at whose values it is written, too.

        Returns:
            Whether it was written, for each summary.
        """
        return write_metric(self, train_step, step_metrics)


class TFHistogramStepMetric(TFStepMetric):
    """A metric of many values, whose summaries are histograms."""

    def tf_summaries(self, train_step: Any = None, step_metrics: Sequence[TFStepMetric] = ()) -> list[Any]:
        value = self.result()
        return [write_histogram(tag, value, step) for tag, step in _places(self, train_step, step_metrics)]


class TFMultiMetricStepMetric(TFStepMetric):
    """A metric of several values, each with a scalar summary of its own.

    Args:
        name: Name of the metric.
        prefix: What the names of its summaries begin with.
        metric_names: Name of each value. A single name is followed by the value's number, ``Metric`` is by default.
    """

    def __init__(self, name: str, prefix: str = "Metrics", metric_names: Sequence[str | None] = ()) -> None:
        super().__init__(name, prefix)
        object.__setattr__(self, "_metric_names", metric_names)

    @property
    def metric_names(self) -> Sequence[str | None]:
        """The constructor's argument."""
        return self._metric_names

    def tf_summaries(self, train_step: Any = None, step_metrics: Sequence[TFStepMetric] = ()) -> list[Any]:
        values = tf.nest.flatten(self.result())
        if len(values) == 1:
            values = tf.unstack(tf.reshape(values[0], [-1]))
        return [
            write_scalar(f"{tag}/{self._value_name(index, len(values))}", value, step)
            for tag, step in _places(self, train_step, step_metrics)
            for index, value in enumerate(values)
        ]

    def _value_name(self, index: int, num_values: int) -> str:
        names = self._metric_names
        own = names[index] if len(names) == num_values else None
        return own or f"{names[0] if len(names) == 1 and names[0] else 'Metric'}{index}"


def write_metric(metric: Any, train_step: Any, step_metrics: Sequence[Any]) -> list[Any]:
    """Writes a metric's value; see :meth:`TFStepMetric.tf_summaries`."""
    value = metric.result()
    return [write_scalar(tag, value, step) for tag, step in _places(metric, train_step, step_metrics)]


def _places(metric: Any, train_step: Any, step_metrics: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yields the tags and the steps at which a metric's value is written."""
    prefix = metric.prefix
    if train_step is not None:
        yield (f"{prefix}/{metric.name}" if prefix else metric.name), train_step
    for other in step_metrics:
        if other.name != metric.name:
            tag = f"{prefix}_vs_{other.name}" if prefix else f"vs_{other.name}"
            yield f"{tag}/{metric.name}", other.result()


def module_name(name: str) -> str:
    """Returns a name that tf.Module takes: ``AverageReturn`` for ``Eval/AverageReturn``."""
    name = name.rpartition("/")[2]
    return name if name.isidentifier() else "metric"
