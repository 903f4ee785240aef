from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from linear_policies import DISCRETE, MASKED_STEP_SPEC, SHIFTED, STEP_SPEC, Linear, masked_step, random_step, split

from distpolicy.policies.categorical_q_policy import CategoricalQPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.specs.array_spec import BoundedArraySpec

KERNEL = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)


def _network(num_actions: int = 4) -> Linear:
    network = Linear((num_actions, 3))
    network.num_atoms = 3
    return network


def _expected_values(observation: Any) -> np.ndarray:
    logits = (np.asarray(observation) @ KERNEL).reshape(-1, 4, 3)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return probabilities @ np.array([-2.0, 0.5, 3.0])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_logits_are_expected_values_over_the_temperature(temperature: float) -> None:
    policy = CategoricalQPolicy(STEP_SPEC, DISCRETE, _network(), -2.0, 3.0, temperature=temperature)
    step = random_step(5)
    logits = policy.distribution(step).action.logits
    np.testing.assert_allclose(logits, _expected_values(step.observation) / temperature, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [DISCRETE, SHIFTED])
def test_mask_and_minimum_count(spec: BoundedArraySpec) -> None:
    policy = CategoricalQPolicy(MASKED_STEP_SPEC, spec, _network(), -2.0, 3.0, split)
    step = masked_step([[1, 0, 1, 0]] * 40)
    best = np.where([1, 0, 1, 0], _expected_values(step.observation["x"]), -np.inf).argmax(axis=-1)
    np.testing.assert_array_equal(GreedyPolicy(policy).action(step).action, best + spec.minimum)
    drawn = np.asarray(policy.action(step, seed=1).action) - spec.minimum
    np.testing.assert_array_equal(np.unique(drawn), [0, 2])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"action_spec": [DISCRETE]}, TypeError, "one bounded spec"),
        ({"q_network": Linear((4, 3))}, ValueError, "num_atoms"),
        ({"q_network": _network(3)}, ValueError, r"inner shape \[4, 3\]"),
        ({"min_q_value": 3.0}, ValueError, "min_q_value"),
        ({"temperature": 0.0}, ValueError, "temperature"),
        ({"action_spec": BoundedArraySpec((2,), np.int64, 0, 3)}, ValueError, "scalar"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"action_spec": DISCRETE, "q_network": _network(), "min_q_value": -2.0, "max_q_value": 3.0, **changes}
    with pytest.raises(error, match=message):
        CategoricalQPolicy(STEP_SPEC, **arguments)
