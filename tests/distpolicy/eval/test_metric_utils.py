from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from counting_env import CountingEnv

from distpolicy.environments.tf_py_environment import TFPyEnvironment
from distpolicy.eval import metric_utils
from distpolicy.metrics import py_metrics, tf_metrics
from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.fixed_py_policy import FixedPyPolicy


def evaluate(use_function: bool = True, **arguments: Any) -> Any:
    env = TFPyEnvironment(CountingEnv(3))
    policy = FixedPolicy(np.int32(2), env.time_step_spec(), env.action_spec())
    metrics = [tf_metrics.AverageReturnMetric(), tf_metrics.NumberOfEpisodes()]
    return metric_utils.eager_compute(metrics, env, policy, num_episodes=4, use_function=use_function, **arguments)


@pytest.mark.parametrize("use_function", [False, True])
def test_metrics_of_a_policy_over_tensors(use_function: bool) -> None:
    results = evaluate(use_function)
    assert {name: float(value) for name, value in results.items()} == {"AverageReturn": 6.0, "NumberOfEpisodes": 4.0}


def test_metrics_are_written_with_their_step(tmp_path: Path) -> None:
    writer = tf.summary.create_file_writer(str(tmp_path))
    evaluate(train_step=tf.constant(7, tf.int64), summary_writer=writer, summary_prefix="Eval")
    writer.close()
    found = {
        value.tag: (event.step, float(tf.make_ndarray(value.tensor)), value.metadata.plugin_data.plugin_name)
        for file in tmp_path.iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    assert found == {"Eval/AverageReturn": (7, 6.0, "scalars"), "Eval/NumberOfEpisodes": (7, 4.0, "scalars")}


def test_metrics_of_a_policy_over_arrays(caplog: pytest.LogCaptureFixture) -> None:
    env = CountingEnv(3)
    policy = FixedPyPolicy(np.int32(2), env.time_step_spec(), env.action_spec())
    metrics = [py_metrics.AverageReturnMetric(), py_metrics.EnvironmentSteps()]
    metrics[1].reset(50)
    assert dict(metric_utils.compute(metrics, env, policy, num_episodes=2)) == {
        "AverageReturn": 6.0,
        "EnvironmentSteps": 6,
    }
    told: list[Any] = []
    with caplog.at_level(logging.INFO):
        results = metric_utils.compute_summaries(
            metrics, env, policy, global_step=5, log=True, callback=lambda *args: told.append(args)
        )
    assert told == [(results, 5)]
    assert "EnvironmentSteps = 3" in caplog.text
    assert list(metric_utils.MetricsGroup(metrics).results()) == ["AverageReturn", "EnvironmentSteps"]
