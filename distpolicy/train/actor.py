"""Actor: a policy that collects in one environment, run by run."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from distpolicy.drivers.driver import Observer
from distpolicy.drivers.py_driver import PyDriver
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.metrics import py_metrics
from distpolicy.metrics.py_metric import PyMetric
from distpolicy.policies.py_policy import PyPolicy

_logger = logging.getLogger(__name__)


class Actor:
    """Runs steps or episodes at a time by a PyDriver, and keeps where it is.

    Args:
        env: The environment.
        policy: The policy.
        train_step: The variable that counts gradient steps: the step of summaries.
        steps_per_run: Number of steps of a run; None for no limit.
        episodes_per_run: Number of episodes of a run; None for no limit.
        observers: Called with the trajectory of each step.
        transition_observers: Called with the transition of each step.
        info_observers: Called with the environment's info after each step.
        metrics: Metrics over arrays, which observe the trajectories, too.
        reference_metrics: Metrics at whose values summaries are written, too.
        image_metrics: Metrics whose summaries are images, of which ``log_metrics`` says nothing.
        summary_dir: Folder of the summaries; None for none.
        summary_interval: Number of gradient steps between two summaries.
        end_episode_on_boundary: See :class:`distpolicy.drivers.py_driver.PyDriver`.
        name: What the names of summaries begin with.

    Raises:
        ValueError: If ``env`` is not a PyEnvironment, or there is no limit.
    """

    def __init__(
        self,
        env: PyEnvironment,
        policy: PyPolicy,
        train_step: tf.Variable,
        steps_per_run: int | None = None,
        episodes_per_run: int | None = None,
        observers: Sequence[Observer] | None = None,
        transition_observers: Sequence[Observer] | None = None,
        info_observers: Sequence[Observer] | None = None,
        metrics: Sequence[PyMetric] | None = None,
        reference_metrics: Sequence[PyMetric] | None = None,
        image_metrics: Sequence[PyMetric] | None = None,
        summary_dir: str | os.PathLike[str] | None = None,
        summary_interval: int = 1000,
        end_episode_on_boundary: bool = True,
        name: str = "",
    ) -> None:
        if not isinstance(env, PyEnvironment):
            raise ValueError(f"env must be a PyEnvironment, not {env!r}: an Actor collects by a PyDriver")
        self._env, self._policy, self._train_step, self._name = env, policy, train_step, name
        self._metrics, self._reference_metrics = list(metrics or ()), list(reference_metrics or ())
        self._image_metrics = list(image_metrics or ())
        self._writer = None if summary_dir is None else tf.summary.create_file_writer(os.fspath(summary_dir))
        self._summary_interval, self._last_summary = summary_interval, 0
        self._driver = PyDriver(
            env,
            policy,
            [*(observers or ()), *self._metrics, *self._image_metrics],
            transition_observers,
            info_observers,
            max_steps=steps_per_run,
            max_episodes=episodes_per_run,
            end_episode_on_boundary=end_episode_on_boundary,
        )
        self.reset()

    @property
    def metrics(self) -> list[PyMetric]:
        """The metrics."""
        return self._metrics

    @property
    def image_metrics(self) -> list[PyMetric]:
        """The metrics whose summaries are images."""
        return self._image_metrics

    @property
    def summary_writer(self) -> Any:
        """The writer of the summaries; None without a folder."""
        return self._writer

    @property
    def train_step(self) -> tf.Variable:
        """The variable that counts gradient steps."""
        return self._train_step

    @property
    def policy(self) -> PyPolicy:
        """The policy."""
        return self._policy

    def reset(self) -> None:
        """Begins new episodes, with the policy's initial state."""
        self._time_step = self._env.reset()
        self._policy_state = self._policy.get_initial_state(self._env.batch_size or 1)

    def run(self) -> None:
        """Collects, from where the last run ended, and writes summaries if it is time."""
        self._time_step, self._policy_state = self._driver.run(self._time_step, self._policy_state)
        step = int(self._train_step)
        if self._summary_interval > 0 and step - self._last_summary >= self._summary_interval:
            self.write_metric_summaries()
            self._last_summary = step

    def run_and_log(self) -> None:
        """Collects, writes summaries and logs the metrics."""
        self.run()
        self.write_metric_summaries()
        self.log_metrics()

    def write_metric_summaries(self) -> None:
        """Writes the metrics' values at the current gradient step."""
        if self._writer is not None:
            with self._writer.as_default(), tf.name_scope(self._name or ""):
                for metric in (*self._metrics, *self._image_metrics):
                    metric.tf_summaries(self._train_step, self._reference_metrics)
            self._writer.flush()

    def log_metrics(self) -> None:
        """Logs the metrics' values by the standard library's logging."""
        lines = [f"{metric.name} = {metric.result()}" for metric in self._metrics]
        _logger.info("%s \n\t\t %s", self._name, "\n\t\t ".join(lines))


def collect_metrics(buffer_size: int) -> list[PyMetric]:
    """Returns the metrics of collection: numbers of episodes and steps, and means of the last episodes."""
    return [
        py_metrics.NumberOfEpisodes(),
        py_metrics.EnvironmentSteps(),
        *eval_metrics(buffer_size),
    ]


def eval_metrics(buffer_size: int) -> list[PyMetric]:
    """Returns the metrics of evaluation: the mean return and length of the last episodes."""
    return [
        py_metrics.AverageReturnMetric(buffer_size=buffer_size),
        py_metrics.AverageEpisodeLengthMetric(buffer_size=buffer_size),
    ]
