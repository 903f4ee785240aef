"""Plain NumPy for the tests of actor-critic off-policy agents: networks, gradients by differences, and batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.trajectories.transitions import Transition

Arrays = list[np.ndarray]


def arrays(variables: Sequence[tf.Variable]) -> Arrays:
    """Returns the values of variables, float64."""
    return [np.asarray(variable.numpy(), np.float64) for variable in variables]


def mlp(parameters: Arrays, inputs: np.ndarray) -> np.ndarray:
    """A network of dense layers with tanh, whose last layer has no activation."""
    values = inputs
    for index in range(0, len(parameters), 2):
        values = values @ parameters[index] + parameters[index + 1]
        if index + 2 < len(parameters):
            values = np.tanh(values)
    return values


def gradients(function: Callable[[Arrays], float], parameters: Arrays, step: float = 1e-5) -> Arrays:
    """Returns the gradient of a function of arrays by central differences."""
    found = []
    for place, array in enumerate(parameters):
        gradient = np.zeros_like(array)
        for index in np.ndindex(*array.shape):
            ends = []
            for sign in (1.0, -1.0):
                moved = [item.copy() for item in parameters]
                moved[place][index] += sign * step
                ends.append(function(moved))
            gradient[index] = (ends[0] - ends[1]) / (2.0 * step)
        found.append(gradient)
    return found


def descended(parameters: Arrays, gradient: Arrays, learning_rate: float) -> Arrays:
    """Returns the parameters after a step of plain gradient descent."""
    return [value - learning_rate * slope for value, slope in zip(parameters, gradient, strict=True)]


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    """The sum of weighted rows by the number of rows that count."""
    return float(np.sum(values * weights) / np.count_nonzero(weights))


def random_transitions(
    action_spec: Any, observation_size: int, batch_shape: tuple[int, ...], seed: int = 0
) -> Transition:
    """Returns transitions ``[*batch_shape, ...]``; some end their episode, in both ways."""
    draws = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return draws.normal(size=(*batch_shape, *shape)).astype(np.float32)

    zeros = np.zeros(batch_shape, np.float32)
    ends = draws.integers(0, 3, batch_shape)
    return Transition(
        TimeStep(np.full(batch_shape, StepType.MID, np.int32), zeros, zeros, normal(observation_size)),
        PolicyStep(
            draws.uniform(action_spec.minimum, action_spec.maximum, (*batch_shape, *action_spec.shape)).astype(
                np.float32
            ),
            (),
            (),
        ),
        TimeStep(
            np.where(ends == 0, StepType.MID, StepType.LAST).astype(np.int32),
            normal(),
            (ends != 1).astype(np.float32),
            normal(observation_size),
        ),
    )


def assert_close(variables: Sequence[tf.Variable], expected: Arrays, rtol: float = 1e-3, atol: float = 2e-5) -> None:
    """Asserts that variables have these values."""
    for variable, array in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), array, rtol=rtol, atol=atol)
