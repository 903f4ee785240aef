from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distpolicy.policies.scripted_py_policy import ScriptedPyPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep

STEP_SPEC = ts.time_step_spec(ArraySpec((), np.float32))
SPEC = {"b": BoundedArraySpec((2,), np.int32, 0, 9), "a": [ArraySpec((), np.float32)]}
SCRIPT = [
    (0, {"b": "left out", "a": 0}),
    (1, {"b": [5, 2], "a": [0.5]}),
    (0, {"b": [99, 99], "a": [9.0]}),
    (2, {"b": (1, 3), "a": [np.float64(-1.0)]}),
]


def _play(policy: ScriptedPyPolicy, num_steps: int, batch_size: int | None = None) -> list[PolicyStep]:
    state, steps = policy.get_initial_state(batch_size), []
    for _ in range(num_steps):
        steps.append(policy.action(ts.restart(np.float32(0)), state))
        state = steps[-1].state
    return steps


def test_actions_are_taken_as_often_as_the_script_says() -> None:
    steps = _play(ScriptedPyPolicy(STEP_SPEC, SPEC, SCRIPT), 3)
    np.testing.assert_array_equal([step.action["b"] for step in steps], [[5, 2], [1, 3], [1, 3]])
    np.testing.assert_array_equal([step.action["a"][0] for step in steps], [0.5, -1.0, -1.0])
    assert [[int(item) for item in step.state] for step in steps] == [[1, 1], [3, 1], [3, 2]]
    assert steps[0].action["b"].dtype == np.int32
    assert steps[0].action["a"][0].dtype == np.float32
    assert type(steps[0].action["a"]) is list


def test_rows_of_a_batch_are_each_at_their_own_place() -> None:
    policy = ScriptedPyPolicy(STEP_SPEC, SPEC, SCRIPT)
    state = [np.array([0, 1, 3], np.int32), np.array([0, 1, 1], np.int32)]
    step = policy.action(ts.restart(np.zeros(3, np.float32), 3), state)
    np.testing.assert_array_equal(step.action["b"], [[5, 2], [1, 3], [1, 3]])
    np.testing.assert_array_equal(step.state[0], [1, 3, 3])
    np.testing.assert_array_equal(step.state[1], [1, 1, 2])
    assert step.action["a"][0].shape == (3,)
    assert _play(policy, 3, 2)[2].action["b"].shape == (2, 2)


def test_action_that_was_returned_can_be_written_to() -> None:
    policy = ScriptedPyPolicy(STEP_SPEC, SPEC, SCRIPT)
    _play(policy, 1)[0].action["b"][:] = 7
    np.testing.assert_array_equal(_play(policy, 1)[0].action["b"], [5, 2])


@pytest.mark.parametrize("script", [SCRIPT, [], [(0, None)]])
def test_end_of_the_script_is_an_error(script: Any) -> None:
    policy = ScriptedPyPolicy(STEP_SPEC, SPEC, script)
    with pytest.raises(ValueError, match="script ended"):
        _play(policy, 4)


def test_end_of_the_script_in_one_row_is_an_error() -> None:
    policy = ScriptedPyPolicy(STEP_SPEC, SPEC, SCRIPT)
    with pytest.raises(ValueError, match="script ended after 3 steps"):
        policy.action(ts.restart(np.zeros(2, np.float32), 2), [np.array([0, 3]), np.array([0, 2])])


def test_missing_state_is_an_error() -> None:
    with pytest.raises(ValueError, match="state"):
        ScriptedPyPolicy(STEP_SPEC, SPEC, SCRIPT).action(ts.restart(np.float32(0)))


@pytest.mark.parametrize(
    ("action", "leaf"),
    [
        ({"b": [50, 2], "a": [0.5]}, r"\[0\]/b"),
        ({"b": [1.5, 2], "a": [0.5]}, r"\[0\]/b"),
        ({"b": [1, 2, 3], "a": [0.5]}, r"\[0\]/b"),
        ({"b": [1, 2], "a": [[0.5, 1.0]]}, r"\[0\]/a/0"),
        ({"b": [1, 2], "a": [0.5, 1.0]}, r"\[0\]/a"),
        ({"b": [1, 2]}, r"\[0\]"),
        ([1, 2], r"\[0\]"),
    ],
)
def test_action_that_does_not_match_its_spec_is_refused_and_the_leaf_is_named(action: Any, leaf: str) -> None:
    with pytest.raises(ValueError, match=f"action_script{leaf}:"):
        ScriptedPyPolicy(STEP_SPEC, SPEC, [(1, action)])
