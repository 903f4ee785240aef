"""DynamicStepDriver: takes a number of steps in an environment of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from distpolicy.drivers.driver import Driver, Observer
from distpolicy.drivers.in_graph_loop import run_loop
from distpolicy.environments.tf_environment import TFEnvironment
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory


class DynamicStepDriver(Driver):
    """Takes at least ``num_steps`` steps, counted over all rows of the batch.

    Observers also get the step from LAST to FIRST, but it is not counted. ``common.function(driver.run)`` compiles the
    loop, which makes it many times as fast. Observers are then called once, when it is traced.

    Args:
        env: The environment.
        policy: A TFPolicy.
        observers: Called with the trajectory of each step, tensors ``[B, ...]``.
        transition_observers: Called with ``(time_step, action_step, next_time_step)`` of each step.
        num_steps: The number of steps.
    """

    def __init__(
        self,
        env: TFEnvironment,
        policy: Any,
        observers: Sequence[Observer] | None = None,
        transition_observers: Sequence[Observer] | None = None,
        num_steps: Any = 1,
    ) -> None:
        super().__init__(env, policy, observers, transition_observers)
        self._num_steps = num_steps

    def run(
        self, time_step: TimeStep | None = None, policy_state: Any = None, maximum_iterations: Any = None
    ) -> tuple[TimeStep, Any]:
        """Takes the steps.

        Args:
            time_step: The time step to begin with; None for the environment's current one.
            policy_state: The policy state at this time step; None for the initial one.
            maximum_iterations: Largest number of steps of the whole batch; None for no limit.

        Returns:
            The last time step and policy state.
        """
        if time_step is None:
            time_step = self.env.current_time_step()
        if policy_state is None:
            policy_state = self.policy.get_initial_state(self.env.batch_size)
        return run_loop(
            self,
            time_step,
            policy_state,
            counted=_is_step,
            goes_on=self._loop_condition_fn(),
            maximum_iterations=maximum_iterations,
        )

    def _loop_condition_fn(self) -> Any:
        """Returns a function of the numbers of steps, int32 ``[B]``, and of what else is carried, to a bool."""
        return lambda counter, *_: tf.less(tf.reduce_sum(counter), self._num_steps)


def _is_step(made: Trajectory) -> tf.Tensor:
    return tf.cast(tf.logical_not(made.is_boundary()), tf.int32)
