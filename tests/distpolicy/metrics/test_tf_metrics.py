from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.metrics import tf_metrics
from distpolicy.metrics.tf_metric import TFStepMetric
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils import common


def stream(lengths: list[list[int]], seed: int = 0) -> list[Trajectory]:
    """Trajectories ``[B]`` of rows with episodes of these lengths, with random rewards."""
    random = np.random.default_rng(seed)
    rows = []
    for row in lengths:
        kinds = [kind for length in row for kind in [0] + [1] * (length - 1) + [2]]
        rows.append(kinds)
    num_steps = min(len(row) for row in rows) - 1
    made = []
    for step in range(num_steps):
        now, then = (np.array([row[step + offset] for row in rows], np.int32) for offset in (0, 1))
        reward = np.where(now == 2, 0.0, random.integers(-5, 5, len(rows))).astype(np.float32)
        action = random.integers(0, 4, len(rows)).astype(np.int32)
        leaves = (now, np.zeros((len(rows), 1), np.float32), action, (), then, reward, np.ones(len(rows), np.float32))
        made.append(tf.nest.map_structure(tf.constant, Trajectory(*leaves)))
    return made


def episodes(steps: list[Trajectory]) -> tuple[list[float], list[int], int]:
    """Returns and lengths of the episodes in the order of their ends, and the number of steps."""
    num_rows = steps[0].reward.shape[0]
    returns, lengths, total = np.zeros(num_rows), np.zeros(num_rows, int), 0
    found: tuple[list[float], list[int]] = ([], [])
    for step in steps:
        for row in range(num_rows):
            if int(step.step_type[row]) == 0:
                returns[row], lengths[row] = 0.0, 0
            if int(step.step_type[row]) != 2:
                returns[row] += float(step.reward[row])
                lengths[row] += 1
                total += 1
            if int(step.next_step_type[row]) == 2:
                found[0].append(float(returns[row]))
                found[1].append(int(lengths[row]))
    return found[0], found[1], total


@pytest.mark.parametrize(
    ("lengths", "buffer_size"), [([[1, 3, 2, 4]], 10), ([[3, 1, 1, 2], [2, 2, 4, 1], [1, 1, 1, 4]], 2)]
)
def test_metrics_are_what_a_loop_over_rows_computes(lengths: list[list[int]], buffer_size: int) -> None:
    steps, batch = stream(lengths), {"batch_size": len(lengths), "buffer_size": buffer_size}
    metrics: list[Any] = [
        tf_metrics.EnvironmentSteps(),
        tf_metrics.NumberOfEpisodes(),
        tf_metrics.AverageReturnMetric(**batch),
        tf_metrics.MaxReturnMetric(**batch),
        tf_metrics.MinReturnMetric(**batch),
        tf_metrics.AverageEpisodeLengthMetric(**batch),
    ]
    for _ in range(2):
        for step in steps:
            for metric in metrics:
                assert isinstance(metric(step), Trajectory)
        returns, counts, total = episodes(steps)
        returns, kept = returns[-buffer_size:], counts[-buffer_size:]
        expected = [total, len(counts), np.mean(returns), max(returns), min(returns), np.mean(kept)]
        np.testing.assert_allclose([float(metric.result()) for metric in metrics], expected, rtol=1e-6)
        for metric in metrics:
            metric.reset()
    info = tf.float32
    assert [float(metric.result()) for metric in metrics] == [0, 0, 0, info.min, info.max, 0]


def test_counts_are_int64() -> None:
    assert tf_metrics.EnvironmentSteps().result().dtype == tf_metrics.NumberOfEpisodes().result().dtype == tf.int64


def test_the_histogram_holds_the_last_actions() -> None:
    steps = stream([[3, 3], [2, 4]])
    metric = tf_metrics.ChosenActionHistogram(buffer_size=5)
    for step in steps[:4]:
        metric(step)
    actions = np.concatenate([step.action for step in steps[:4]])
    assert sorted(metric.result().numpy()) == sorted(actions[-5:])
    metric.reset()
    assert metric.result().shape == (0,)


def test_each_reward_of_a_nest_has_its_mean() -> None:
    steps = stream([[2, 3, 2]])
    spec = {"a": tf.TensorSpec((), tf.float32, "a"), "b": tf.TensorSpec((2,), tf.float32, "b")}
    metric, plain = tf_metrics.AverageReturnMultiMetric(spec), tf_metrics.AverageReturnMetric()
    for step in steps:
        plain(step)
        metric(step._replace(reward={"a": step.reward, "b": tf.stack([step.reward, 2 * step.reward], axis=1)}))
    result, mean = metric.result(), float(plain.result())
    assert float(result["a"]) == pytest.approx(mean)
    np.testing.assert_allclose(result["b"], [mean, 2 * mean], rtol=1e-6)
    metric.reset()
    np.testing.assert_array_equal(metric.result()["b"], [0.0, 0.0])


def test_a_vector_of_rewards_is_added_up() -> None:
    metric = tf_metrics.AverageReturnMetric()
    for step in stream([[2, 2]]):
        metric(step._replace(reward=tf.ones([1, 3])))
    assert float(metric.result()) == 6.0


def test_more_values_than_fit_leave_the_last() -> None:
    deque = tf_metrics.TFDeque(3, tf.float32)
    deque.extend([1.0, 2.0, 3.0, 4.0, 5.0])
    assert sorted(deque.data.numpy()) == [3.0, 4.0, 5.0]
    deque.add(6.0)
    assert sorted(deque.data.numpy()) == [4.0, 5.0, 6.0]
    assert (float(deque.mean()), float(deque.max()), float(deque.min()), int(deque.length)) == (5.0, 6.0, 4.0, 3)


def test_a_metric_of_the_users_counts_in_a_compiled_loop() -> None:
    class Rewards(TFStepMetric):
        def __init__(self) -> None:
            super().__init__(name="Rewards", prefix="Own")
            self.total = common.create_variable("total", 0.0, dtype=tf.float32)

        def call(self, trajectory: Trajectory) -> Trajectory:
            self.total.assign_add(tf.reduce_sum(trajectory.reward))
            return trajectory

        def result(self) -> tf.Tensor:
            return self.total.read_value()

        def reset(self) -> None:
            self.total.assign(0.0)

    metric, (step, *_) = Rewards(), stream([[3]])
    assert (metric.name, metric.prefix) == ("Rewards", "Own")

    @tf.function
    def run() -> None:
        for _ in tf.range(3):
            metric(step)

    run()
    assert float(metric.result()) == 3 * float(step.reward[0])


def test_summaries_are_written(tmp_path: Path) -> None:
    metric, steps = tf_metrics.AverageReturnMetric(), tf_metrics.EnvironmentSteps()
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        assert len(metric.tf_summaries(train_step=tf.constant(3, tf.int64), step_metrics=[metric, steps])) == 2
    found = [
        value.tag
        for file in tmp_path.iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    ]
    assert found == ["Metrics/AverageReturn", "Metrics_vs_EnvironmentSteps/AverageReturn"]


def test_metrics_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        tf_metrics.log_metrics([tf_metrics.NumberOfEpisodes()], prefix="Step 3")
    assert "Step 3" in caplog.text
    assert "NumberOfEpisodes = 0" in caplog.text


def test_a_metric_without_methods_says_so() -> None:
    for call in (lambda: TFStepMetric("m").result(), lambda: TFStepMetric("m").reset()):
        with pytest.raises(NotImplementedError, match="must define"):
            call()
