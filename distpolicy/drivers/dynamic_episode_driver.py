"""DynamicEpisodeDriver: takes a number of episodes in an environment of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from distpolicy.drivers.driver import Driver, Observer
from distpolicy.drivers.in_graph_loop import run_loop
from distpolicy.environments.tf_environment import TFEnvironment
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory


class DynamicEpisodeDriver(Driver):
    """Takes at least ``num_episodes`` episodes, counted over all rows of the batch.

    An episode counts when its last trajectory, from LAST to FIRST, has been observed. In a batch this favours short
    episodes. ``common.function(driver.run)`` compiles the loop; see
    :class:`distpolicy.drivers.dynamic_step_driver.DynamicStepDriver`.

    Args:
        env: The environment.
        policy: A TFPolicy.
        observers: Called with the trajectory of each step, tensors ``[B, ...]``.
        transition_observers: Called with ``(time_step, action_step, next_time_step)`` of each step.
        num_episodes: The number of episodes.
    """

    def __init__(
        self,
        env: TFEnvironment,
        policy: Any,
        observers: Sequence[Observer] | None = None,
        transition_observers: Sequence[Observer] | None = None,
        num_episodes: Any = 1,
    ) -> None:
        super().__init__(env, policy, observers, transition_observers)
        self._num_episodes = num_episodes

    def run(
        self,
        time_step: TimeStep | None = None,
        policy_state: Any = None,
        num_episodes: Any = None,
        maximum_iterations: Any = None,
    ) -> tuple[TimeStep, Any]:
        """Takes the episodes.

        Args:
            time_step: The time step to begin with; None to reset the environment.
            policy_state: The policy state at this time step; None for the initial one.
            num_episodes: Number of episodes; None for the constructor's.
            maximum_iterations: Largest number of steps of the whole batch; None for no limit.

        Returns:
            The last time step and policy state.
        """
        if time_step is None:
            time_step = self.env.reset()
        if policy_state is None:
            policy_state = self.policy.get_initial_state(self.env.batch_size)
        return run_loop(
            self,
            time_step,
            policy_state,
            counted=_is_end,
            goes_on=self._loop_condition_fn(self._num_episodes if num_episodes is None else num_episodes),
            maximum_iterations=maximum_iterations,
        )

    def _loop_condition_fn(self, num_episodes: Any) -> Any:
        """Returns a function of the numbers of episodes, int32 ``[B]``, and of what else is carried, to a bool."""
        return lambda counter, *_: tf.less(tf.reduce_sum(counter), num_episodes)


def _is_end(made: Trajectory) -> tf.Tensor:
    return tf.cast(made.is_boundary(), tf.int32)
