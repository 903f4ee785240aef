from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from test_tf_metrics import episodes, stream

from distpolicy.metrics import py_metrics
from distpolicy.metrics.py_metric import PyMetric
from distpolicy.metrics.tf_py_metric import TFPyMetric


def arrays(steps: list[Any]) -> list[Any]:
    return [tf.nest.map_structure(np.asarray, step) for step in steps]


@pytest.mark.parametrize("lengths", [[[1, 3, 2, 4]], [[3, 1, 1, 2], [2, 2, 4, 1]]])
@pytest.mark.parametrize("wrapped", [False, True])
def test_metrics_are_what_a_loop_over_rows_computes(lengths: list[list[int]], wrapped: bool) -> None:
    steps = stream(lengths)
    plain: list[Any] = [
        py_metrics.AverageReturnMetric(buffer_size=3),
        py_metrics.AverageEpisodeLengthMetric(buffer_size=3),
        py_metrics.EnvironmentSteps(),
        py_metrics.NumberOfEpisodes(),
    ]
    metrics = [TFPyMetric(metric) for metric in plain] if wrapped else plain
    returns, counts, total = episodes(steps)
    expected = [np.mean(returns[-3:]), np.mean(counts[-3:]), total, len(returns)]
    for _ in range(2):
        for step in steps if wrapped else arrays(steps):
            for metric in metrics:
                metric(step)
        np.testing.assert_allclose([float(metric.result()) for metric in metrics], expected, rtol=1e-6)
        for metric in metrics:
            metric.reset()
        assert [float(metric.result()) for metric in metrics] == [0.0] * 4
    assert [metric.name for metric in metrics] == [metric.name for metric in plain]


def test_steps_need_no_batch_dimension() -> None:
    metric, batched = py_metrics.AverageReturnMetric(), py_metrics.AverageReturnMetric(batch_size=1)
    for step in arrays(stream([[2, 3]])):
        metric(tf.nest.map_structure(lambda leaf: leaf[0], step))
        batched(step)
    assert metric.result() == batched.result() != 0
    assert metric.result().dtype == np.float32


def test_a_wrapped_metric_counts_in_a_compiled_loop_and_returns_its_argument() -> None:
    metric, (step, *_) = TFPyMetric(py_metrics.EnvironmentSteps(), dtype=tf.int64), stream([[3]])

    @tf.function
    def run() -> Any:
        for _ in tf.range(3):
            metric(step)
        return metric(step)

    assert float(run().reward[0]) == float(step.reward[0])
    assert int(metric.result()) == 4
    assert metric.result().dtype == tf.int64


def test_the_deque_keeps_the_last_numbers() -> None:
    numbers = py_metrics.NumpyDeque(3, np.float64)
    with pytest.raises(RuntimeError, match="empty"):
        _ = numbers.last
    numbers.extend([1, 2, 3, 4])
    assert (len(numbers), numbers.last, numbers.mean(np.float32), list(numbers)) == (3, 4, 3, [2, 3, 4])
    endless = py_metrics.NumpyDeque(np.inf, np.int64)
    endless.extend(range(100))
    assert len(endless) == 100


def test_other_metrics() -> None:
    counter = py_metrics.CounterMetric()
    counter()
    counter()
    steps = py_metrics.EnvironmentSteps()
    steps.reset(7)
    assert (counter.result(), steps.result()) == (2, 7)
    assert PyMetric.aggregate([counter, steps]) == 4.5


def test_a_metric_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        py_metrics.NumberOfEpisodes().log()
    assert "Metrics/NumberOfEpisodes = 0" in caplog.text
