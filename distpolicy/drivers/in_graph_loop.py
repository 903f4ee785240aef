"""The loop of drivers whose environment and policy are made of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from distpolicy.drivers.driver import Driver
from distpolicy.trajectories import trajectory
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory, Transition


def run_loop(
    driver: Driver,
    time_step: TimeStep,
    policy_state: Any,
    counted: Callable[[Trajectory], tf.Tensor],
    goes_on: Callable[..., tf.Tensor],
    maximum_iterations: Any = None,
) -> tuple[TimeStep, Any]:
    """Steps a driver's environment by its policy. In a compiled function this is one ``tf.while_loop``.

    Args:
        driver: The driver. It has a TFEnvironment of B environments and a TFPolicy. Its observers are called with the
            trajectory ``[B, ...]`` of each step, its transition observers with a Transition ``[B, ...]``.
        time_step: The time step to begin with, tensors ``[B, ...]``.
        policy_state: The policy state at this time step.
        counted: Function of a step's trajectory to counts, int32 ``[..., B]``.
        goes_on: Function of the sums of the counts, and of what else is carried, to a bool: whether to take a step.
        maximum_iterations: Largest number of iterations; None for no limit.

    Returns:
        The last time step and policy state.
    """
    env, policy = driver.env, driver.policy

    def body(counts: tf.Tensor, time_step: TimeStep, policy_state: Any) -> list[Any]:
        # An action may be independent of the time step. The order of two steps must not.
        with tf.control_dependencies(_operations(time_step)):
            action_step = policy.action(time_step, policy_state)
            next_time_step = env.step(action_step.action)
        made = trajectory.from_transition(time_step, action_step, next_time_step)
        told = [observer(made) for observer in driver.observers]
        transition = Transition(time_step, action_step, next_time_step)
        told += [observer(transition) for observer in driver.transition_observers]
        with tf.control_dependencies(_operations(told)):
            counts += counted(made)
            following = tf.nest.map_structure(tf.identity, next_time_step)
        return [counts, following, _shaped(policy_state, action_step.state)]

    time_step, policy_state = tf.nest.map_structure(tf.convert_to_tensor, (time_step, policy_state))
    time_step = tf.nest.map_structure(
        lambda leaf, spec: tf.ensure_shape(leaf, [env.batch_size, *spec.shape]), time_step, env.time_step_spec()
    )
    first = Trajectory(time_step.step_type, (), (), (), time_step.step_type, (), ())
    _, time_step, policy_state = tf.while_loop(
        goes_on,
        body,
        [tf.zeros_like(counted(first)), time_step, policy_state],
        parallel_iterations=1,
        maximum_iterations=maximum_iterations,
    )
    return time_step, policy_state


def _operations(nest: Any) -> list[Any]:
    """Returns the tensors and operations of a nest. An observer may return anything."""
    return [leaf for leaf in tf.nest.flatten(nest) if isinstance(leaf, tf.Tensor | tf.Operation)]


def _shaped(before: Any, after: Any) -> Any:
    """Returns a state with the static shapes that a loop's variable had before."""
    return tf.nest.map_structure(lambda old, new: tf.ensure_shape(new, old.shape), before, after)
