"""TFDriver: takes steps or episodes in an environment of tensors, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from distpolicy.drivers.driver import Driver, Observer
from distpolicy.drivers.in_graph_loop import run_loop
from distpolicy.environments.tf_environment import TFEnvironment
from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.utils.common import function


class TFDriver(Driver):
    """Runs until a number of steps or of episodes is reached, over all rows of the batch.

    Observers also get the step from LAST to FIRST, but it is not counted. An episode counts when it arrives at LAST.

    Args:
        env: The environment.
        policy: A TFPolicy.
        observers: Called with the trajectory of each step, tensors ``[B, ...]``.
        transition_observers: Called with ``(time_step, action_step, next_time_step)`` of each step.
        max_steps: Number of steps after which a run ends; None or 0 for no limit.
        max_episodes: Number of episodes after which a run ends; None or 0 for no limit.
        disable_tf_function: Whether the loop is not compiled.

    Raises:
        ValueError: If there is no limit.
    """

    def __init__(
        self,
        env: TFEnvironment,
        policy: Any,
        observers: Sequence[Observer] | None = None,
        transition_observers: Sequence[Observer] | None = None,
        max_steps: int | None = None,
        max_episodes: int | None = None,
        disable_tf_function: bool = False,
    ) -> None:
        super().__init__(env, policy, observers, transition_observers)
        largest = tf.int32.max
        self._limits = (int(max_steps or 0), int(max_episodes or 0))
        if max(self._limits) <= 0:
            raise ConfigError("TFDriver needs max_steps or max_episodes greater than 0")
        self._limits = (self._limits[0] or largest, self._limits[1] or largest)
        self._run_function = self._run if disable_tf_function else function(self._run)

    def run(self, time_step: TimeStep, policy_state: Any = ()) -> tuple[TimeStep, Any]:
        """Runs until a limit is reached.

        Args:
            time_step: The time step to begin with: the result of ``env.reset()`` or of the last run.
            policy_state: The policy state at this time step.

        Returns:
            The last time step and policy state.
        """
        return self._run_function(time_step, policy_state)

    def _run(self, time_step: TimeStep, policy_state: Any) -> tuple[TimeStep, Any]:
        return run_loop(
            self,
            time_step,
            policy_state,
            counted=_steps_and_episodes,
            goes_on=lambda counts, *_: tf.reduce_all(tf.reduce_sum(counts, axis=1) < self._limits),
        )


def _steps_and_episodes(made: Trajectory) -> tf.Tensor:
    counts = tf.stack([tf.logical_not(made.is_boundary()), made.is_last()])
    return tf.cast(counts, tf.int32)
