"""Functions that run a policy and return its metrics."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from distpolicy.drivers.py_driver import PyDriver
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.environments.tf_environment import TFEnvironment
from distpolicy.utils.common import function
from distpolicy.utils.summaries import write_scalar

_logger = logging.getLogger(__name__)


class MetricsGroup(tf.Module):
    """Several metrics.

    Args:
        metrics: The metrics.
        name: Name of the module.
    """

    def __init__(self, metrics: Sequence[Any], name: str | None = None) -> None:
        super().__init__(name=name)
        self.metrics = metrics

    def results(self) -> OrderedDict[str, Any]:
        """Returns the value of each metric by its name."""
        return _results(self.metrics)


def log_metrics(metrics: Sequence[Any], prefix: str = "") -> None:
    """Logs the values of metrics, one a line, by the standard library's logging."""
    lines = [f"{metric.name} = {metric.result()}" for metric in metrics]
    _logger.info("%s \n\t\t %s", prefix, "\n\t\t ".join(lines))


def compute(
    metrics: Sequence[Any], environment: PyEnvironment, policy: Any, num_episodes: int = 1
) -> OrderedDict[str, Any]:
    """Resets metrics, and computes them over episodes of a policy over arrays.

    Args:
        metrics: Metrics over arrays, such as those of ``py_metrics``.
        environment: The environment, which is reset.
        policy: A PyPolicy.
        num_episodes: Number of episodes.

    Returns:
        The value of each metric by its name.
    """
    for metric in metrics:
        metric.reset()
    time_step = environment.reset()
    policy_state = policy.get_initial_state(environment.batch_size or 1)
    PyDriver(environment, policy, metrics, max_episodes=num_episodes).run(time_step, policy_state)
    return _results(metrics)


def compute_summaries(
    metrics: Sequence[Any],
    environment: PyEnvironment,
    policy: Any,
    num_episodes: int = 1,
    global_step: Any = None,
    tf_summaries: bool = True,
    log: bool = False,
    callback: Callable[[Any, Any], Any] | None = None,
) -> OrderedDict[str, Any]:
    """Calls :func:`compute`, and writes and logs the values.

    Args:
        metrics: See :func:`compute`.
        environment: See :func:`compute`.
        policy: See :func:`compute`.
        num_episodes: See :func:`compute`.
        global_step: The step of the summaries; None for none.
        tf_summaries: Whether summaries are written to the summary writer that is the default one.
        log: Whether the values are logged.
        callback: Called with the values and the step.

    Returns:
        The value of each metric by its name.
    """
    results = compute(metrics, environment, policy, num_episodes)
    if tf_summaries:
        for metric in metrics:
            metric.tf_summaries(train_step=global_step)
    if log:
        log_metrics(metrics, prefix=f"Step = {global_step}")
    if callback is not None:
        callback(results, global_step)
    return results


def eager_compute(
    metrics: Sequence[Any],
    environment: TFEnvironment,
    policy: Any,
    num_episodes: int = 1,
    train_step: Any = None,
    summary_writer: Any = None,
    summary_prefix: str = "",
    use_function: bool = True,
) -> OrderedDict[str, Any]:
    """Resets metrics, and computes them over episodes of a policy over tensors.

    Args:
        metrics: Metrics over tensors, such as those of ``tf_metrics``.
        environment: The environment, which is reset.
        policy: A TFPolicy.
        num_episodes: Number of episodes.
        train_step: The step of the summaries; None for none.
        summary_writer: Where summaries are written; None for nowhere.
        summary_prefix: What the names of the summaries begin with.
        use_function: Whether the loop is compiled.

    Returns:
        The value of each metric by its name.
    """
    for metric in metrics:
        metric.reset()
    driver = DynamicEpisodeDriver(environment, policy, observers=metrics, num_episodes=num_episodes)
    run = function(driver.run) if use_function else driver.run
    run(environment.reset(), policy.get_initial_state(environment.batch_size))
    results = _results(metrics)
    if train_step is not None and summary_writer:
        with summary_writer.as_default():
            for name, value in results.items():
                write_scalar(f"{summary_prefix}/{name}" if summary_prefix else name, value, train_step)
    return results


def _results(metrics: Sequence[Any]) -> OrderedDict[str, Any]:
    return OrderedDict((metric.name, metric.result()) for metric in metrics)
