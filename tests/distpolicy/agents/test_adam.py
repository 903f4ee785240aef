"""Adam: the paper's steps, variable by variable, and the bound of the gradient's norm."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.adam import Adam, apply_gradients
from distpolicy.agents.flat_adam import FlatAdam, flat
from distpolicy.agents.off_policy_losses import clip_each

SHAPES = [(3, 4), (4,), (2, 4, 1)]
RATE, EPSILON = 0.01, 1e-5


def arrays(seed: int, scale: float = 1.0) -> list[np.ndarray]:
    draws = np.random.default_rng(seed)
    return [(scale * draws.normal(size=shape)).astype(np.float32) for shape in SHAPES]


def norm_of(gradients: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(gradient, dtype=np.float64)) for gradient in gradients)))


def numpy_steps(values: list[np.ndarray], steps: list[list[np.ndarray]], bound: float | None) -> list[np.ndarray]:
    """Takes the steps of Kingma and Ba (2015), section 2: epsilon is added to the root that is not yet corrected."""
    values = [value.astype(np.float64) for value in values]
    firsts, seconds = ([np.zeros_like(value) for value in values] for _ in range(2))
    for count, gradients in enumerate(steps, 1):
        scale = 1.0 if bound is None else min(1.0, bound / norm_of(gradients))
        for value, first, second, gradient in zip(values, firsts, seconds, gradients, strict=True):
            first += 0.1 * (scale * gradient - first)
            second += 0.001 * (np.square(scale * gradient) - second)
            value -= RATE * np.sqrt(1 - 0.999**count) / (1 - 0.9**count) * first / (np.sqrt(second) + EPSILON)
    return values


@pytest.mark.parametrize("bound", [None, 2.0, math.inf])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_steps_are_those_of_the_paper(bound: float | None, jit_compile: bool) -> None:
    variables = [tf.Variable(value) for value in arrays(0)]
    adam = Adam(variables, EPSILON, bound, RATE)
    # Below the bound and above it.
    steps = [arrays(1, 0.1), arrays(2), arrays(3, 4.0)]

    @tf.function(jit_compile=jit_compile)
    def step(*gradients: tf.Tensor) -> tf.Tensor:
        return apply_gradients(adam, gradients, variables)

    norms = [float(step(*gradients)) for gradients in steps]
    np.testing.assert_allclose(norms, [norm_of(gradients) for gradients in steps], rtol=1e-5)
    assert norms[0] < 2.0 < norms[1]
    for variable, value in zip(variables, numpy_steps(arrays(0), steps, bound), strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-6)
    assert int(adam.iterations) == 3


def test_an_infinite_bound_is_none() -> None:
    gradients = [tf.constant(gradient) for gradient in arrays(1)]
    for gradient, clipped in zip(gradients, clip_each(gradients, math.inf), strict=True):
        np.testing.assert_array_equal(gradient, clipped)
    found = []
    for bound in (None, math.inf):
        variables = [tf.Variable(value) for value in arrays(0)]
        FlatAdam(variables, EPSILON, bound).apply(flat(gradients), variables, tf.constant(RATE))
        found.append([variable.numpy() for variable in variables])
    for unbounded, infinite in zip(*found, strict=True):
        np.testing.assert_array_equal(unbounded, infinite)


def test_an_optimizer_of_keras_is_applied_and_the_norm_is_told() -> None:
    def steps(optimizer: Any) -> tuple[float, list[np.ndarray]]:
        variables = [tf.Variable(value) for value in arrays(0)]
        norm = apply_gradients(optimizer, [tf.constant(gradient) for gradient in arrays(1)], variables)
        return float(norm), [variable.numpy() for variable in variables]

    norm, values = steps(keras.optimizers.SGD(0.5))
    assert norm == pytest.approx(norm_of(arrays(1)), rel=1e-5)
    for value, start, gradient in zip(values, arrays(0), arrays(1), strict=True):
        np.testing.assert_allclose(value, start - 0.5 * gradient, rtol=1e-5, atol=1e-6)
