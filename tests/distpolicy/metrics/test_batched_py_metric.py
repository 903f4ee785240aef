from __future__ import annotations

import numpy as np
import pytest

from distpolicy.metrics.batched_py_metric import BatchedPyMetric
from distpolicy.metrics.py_metrics import AverageReturnMetric
from distpolicy.trajectories import trajectory


def step(rewards: list[float], *, first: bool = False, last: bool = False) -> trajectory.Trajectory:
    make = trajectory.first if first else trajectory.last if last else trajectory.mid
    size = len(rewards)
    return make((), (), (), np.array(rewards, np.float32), np.ones(size, np.float32))


def test_rows_have_metrics_of_their_own_whose_mean_is_the_value() -> None:
    metric = BatchedPyMetric(AverageReturnMetric, metric_args={"buffer_size": 5})
    assert metric.name == "AverageReturn"
    assert metric.result() == 0.0
    assert metric.result().dtype == np.float32
    for trajectory_step in (step([1, 2], first=True), step([3, 4]), step([5, 6], last=True)):
        metric(trajectory_step)
    assert metric.result() == (9 + 12) / 2
    with pytest.raises(ValueError, match="made for 2 rows, but the batch has 3"):
        metric(step([1, 2, 3]))
    metric.reset()
    assert metric.result() == 0.0


def test_the_number_of_rows_may_be_given() -> None:
    metric = BatchedPyMetric(AverageReturnMetric, name="Mine", batch_size=1, prefix="Test")
    assert (metric.name, metric.prefix) == ("Mine", "Test")
    with pytest.raises(ValueError, match="made for 1 rows"):
        metric(step([1, 2], first=True))
    with pytest.raises(NotImplementedError):
        BatchedPyMetric.aggregate([metric])
