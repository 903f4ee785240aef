from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.ops.categorical_projection import project_distribution


def reference(
    reward: np.ndarray, discount: np.ndarray, probabilities: np.ndarray, low: float, high: float
) -> np.ndarray:
    """Algorithm 1 of Bellemare, Dabney and Munos (2017), line by line."""
    num_rows, num_atoms = probabilities.shape
    step = (high - low) / (num_atoms - 1)
    projected = np.zeros((num_rows, num_atoms))
    for row in range(num_rows):
        for atom in range(num_atoms):
            value = min(max(reward[row] + discount[row] * (low + atom * step), low), high)
            place = (value - low) / step
            lower, upper = int(np.floor(place)), int(np.ceil(place))
            if lower == upper:
                projected[row, lower] += probabilities[row, atom]
            else:
                projected[row, lower] += probabilities[row, atom] * (upper - place)
                projected[row, upper] += probabilities[row, atom] * (place - lower)
    return projected


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_it_is_the_papers_algorithm(seed: int, num_atoms: int) -> None:
    draws = np.random.default_rng(seed)
    low, high = -2.0, 3.0
    reward, discount = draws.normal(size=5) * 2, draws.choice([0.0, 0.9, 1.0], size=5)
    probabilities = draws.dirichlet(np.ones(num_atoms), size=5)
    support = np.linspace(low, high, num_atoms)
    found = project_distribution(
        tf.constant(reward[:, None] + discount[:, None] * support), tf.constant(probabilities), tf.constant(support)
    )
    np.testing.assert_allclose(found, reference(reward, discount, probabilities, low, high), atol=1e-6)
    np.testing.assert_allclose(np.sum(found, axis=1), np.ones(5), atol=1e-6)


def test_the_mean_is_kept_within_the_support() -> None:
    support = np.linspace(-10, 10, 21)
    values = np.random.default_rng(0).uniform(-9, 9, size=(4, 7))
    probabilities = np.random.default_rng(1).dirichlet(np.ones(7), size=4)
    found = project_distribution(tf.constant(values), tf.constant(probabilities), tf.constant(support))
    np.testing.assert_allclose(found.numpy() @ support, (values * probabilities).sum(axis=1), atol=1e-9)


def test_shapes_are_checked() -> None:
    row, support = tf.zeros([2, 3]), tf.linspace(0.0, 1.0, 3)
    with pytest.raises(ValueError, match=r"\[B, N\]"):
        project_distribution(row, tf.zeros([2, 4]), support)
    with pytest.raises(ValueError, match="2 values or more"):
        project_distribution(row, row, support[:1])
