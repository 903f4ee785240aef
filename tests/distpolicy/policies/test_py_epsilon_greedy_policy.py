from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distpolicy.policies.fixed_py_policy import FixedPyPolicy
from distpolicy.policies.py_epsilon_greedy_policy import EpsilonGreedyPolicy
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep

OBSERVATION, ACTION = ArraySpec((1,), np.float32), BoundedArraySpec((), np.int32, 0, 9)
STEP = ts.restart(np.zeros(1, np.float32))


def greedy(action: int = 3) -> PyPolicy:
    return FixedPyPolicy(np.int32(action), ts.time_step_spec(OBSERVATION), ACTION)


def share_of_random(policy: PyPolicy, num_actions: int) -> float:
    return float(np.mean([int(policy.action(STEP).action) == 7 for _ in range(num_actions)]))


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_actions_are_random_with_probability_epsilon(epsilon: float) -> None:
    policy = EpsilonGreedyPolicy(greedy(), epsilon, random_policy=greedy(7), random_seed=1)
    assert abs(share_of_random(policy, 2000) - epsilon) < (0.04 if 0 < epsilon < 1 else 1e-9)


def test_epsilon_falls_to_its_end() -> None:
    policy = EpsilonGreedyPolicy(
        greedy(), 1.0, greedy(7), epsilon_decay_end_count=1000, epsilon_decay_end_value=0.0, random_seed=1
    )
    assert abs(share_of_random(policy, 500) - 0.75) < 0.08
    assert abs(share_of_random(policy, 500) - 0.25) < 0.08
    assert share_of_random(policy, 100) == 0.0


def test_random_actions_are_uniform_by_default_and_the_seed_repeats_them() -> None:
    def actions() -> list[int]:
        policy = EpsilonGreedyPolicy(greedy(), 1.0, random_seed=4)
        return [int(policy.action(STEP).action) for _ in range(50)]

    assert actions() == actions()
    assert set(actions()) <= set(range(10))
    assert len(set(actions())) > 5


def test_the_state_is_the_greedy_policys() -> None:
    class Counting(PyPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any = None) -> PolicyStep:
            return PolicyStep(np.int32(3), policy_state + 1, ())

    inner = Counting(ts.time_step_spec(OBSERVATION), ACTION, policy_state_spec=ArraySpec((), np.int64))
    for epsilon, expected in ((0.0, 6), (1.0, 5)):
        policy = EpsilonGreedyPolicy(inner, epsilon)
        assert policy.get_initial_state(2).shape == (2,)
        assert policy.action(STEP, np.int64(5)).state == expected


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="epsilon must be"):
        EpsilonGreedyPolicy(greedy(), 1.5)
    for value in (None, 0.5):
        with pytest.raises(ValueError, match="epsilon_decay_end_value"):
            EpsilonGreedyPolicy(greedy(), 0.5, epsilon_decay_end_count=3, epsilon_decay_end_value=value)
    with pytest.raises(NotImplementedError, match="seed"):
        EpsilonGreedyPolicy(greedy(), 0.5).action(STEP, seed=3)
