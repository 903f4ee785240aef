from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from distpolicy.policies.batched_py_policy import BatchedPyPolicy
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.random_py_policy import RandomPyPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep

STEP_SPEC = ts.time_step_spec(ArraySpec((2,), np.float32))
ACTION_SPEC = {"x": ArraySpec((2,), np.float32)}


class Scaling(PyPolicy):
    """Answers with what it sees times a number, and counts."""

    def __init__(self, scale: float) -> None:
        super().__init__(STEP_SPEC, ACTION_SPEC, [ArraySpec((), np.int32)], ArraySpec((), np.float32))
        self._scale = np.float32(scale)

    def _get_initial_state(self, batch_size: int | None) -> Any:
        return [np.int32(10 * self._scale)]

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        assert time_step.observation.shape == (2,)
        return PolicyStep({"x": self._scale * time_step.observation}, [policy_state[0] + 1], self._scale)


@pytest.mark.parametrize("multithreading", [True, False])
def test_row_is_the_answer_of_its_policy(multithreading: bool) -> None:
    policy = BatchedPyPolicy([Scaling(1.0), Scaling(2.0), Scaling(3.0)], multithreading)
    state = policy.get_initial_state(3)
    np.testing.assert_array_equal(state[0], [10, 20, 30])
    step = policy.action(ts.restart(np.ones((3, 2), np.float32), 3), state)
    np.testing.assert_array_equal(step.action["x"], [[1, 1], [2, 2], [3, 3]])
    np.testing.assert_array_equal(step.state[0], [11, 21, 31])
    np.testing.assert_array_equal(step.info, [1, 2, 3])
    assert policy.batch_size == 3
    assert policy.action_spec == ACTION_SPEC
    policy.close()


def test_policies_act_at_the_same_time() -> None:
    everyone = threading.Barrier(3, timeout=30)

    class Waiting(Scaling):
        def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
            everyone.wait()
            return super()._action(time_step, policy_state)

    policy = BatchedPyPolicy([Waiting(1.0), Waiting(2.0), Waiting(3.0)])
    step = policy.action(ts.restart(np.ones((3, 2), np.float32), 3), policy.get_initial_state())
    np.testing.assert_array_equal(step.info, [1, 2, 3])
    policy.close()


def test_error_of_a_policy_is_raised() -> None:
    class Broken(Scaling):
        def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
            raise KeyError("broken")

    policy = BatchedPyPolicy([Scaling(1.0), Broken(2.0)])
    with pytest.raises(KeyError, match="broken"):
        policy.action(ts.restart(np.ones((2, 2), np.float32), 2), policy.get_initial_state())


def test_each_row_has_its_own_seed() -> None:
    spec = BoundedArraySpec((), np.int64, 0, 10**6)
    policy = BatchedPyPolicy([RandomPyPolicy(STEP_SPEC, spec) for _ in range(3)])
    step = ts.restart(np.ones((3, 2), np.float32), 3)
    action = policy.action(step, (), 5).action
    assert len(set(action.tolist())) == 3
    np.testing.assert_array_equal(policy.action(step, (), 5).action, action)
    rows = np.arange(6, dtype=np.int32).reshape(3, 2)
    action = policy.action(step, (), rows).action
    np.testing.assert_array_equal(policy.action(step, (), rows[::-1]).action, action[::-1])


@pytest.mark.parametrize("policies", [Scaling(1.0), [], None])
def test_what_is_no_list_of_policies_is_refused(policies: Any) -> None:
    with pytest.raises(ValueError, match="list or tuple"):
        BatchedPyPolicy(policies)


def test_policies_with_other_specs_are_refused() -> None:
    policies = [RandomPyPolicy(STEP_SPEC, BoundedArraySpec((), np.int64, 0, last)) for last in (3, 4)]
    with pytest.raises(ValueError, match=r"policies\[1\]"):
        BatchedPyPolicy(policies)


def test_batch_of_another_size_is_refused() -> None:
    policy = BatchedPyPolicy([Scaling(1.0), Scaling(2.0)], multithreading=False)
    state = policy.get_initial_state(2)
    for size in (1, 3):
        with pytest.raises(ValueError, match="batches of 2"):
            policy.action(ts.restart(np.ones((size, 2), np.float32), size), state)
    with pytest.raises(ValueError, match="batches of 2"):
        policy.action(ts.restart(np.ones(2, np.float32)), state)
    with pytest.raises(ValueError, match="batch_size must be 2"):
        policy.get_initial_state(3)
