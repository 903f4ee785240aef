from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.random_py_policy import RandomPyPolicy
from distpolicy.policies.tf_py_policy import TFPyPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep

SPEC, ACTION = ts.time_step_spec({"x": ArraySpec((2,), np.float32)}), {"a": BoundedArraySpec((), np.int64, 0, 9)}


class Counting(PyPolicy):
    """The action is the sum of the observation and the state. The state counts."""

    shapes: list[Any] = []

    def __init__(self) -> None:
        super().__init__(SPEC, ACTION, policy_state_spec=ArraySpec((), np.int64), info_spec=ArraySpec((), np.float32))

    def _get_initial_state(self, batch_size: int | None) -> Any:
        return np.full(() if batch_size is None else (batch_size,), 4, np.int64)

    def _action(self, time_step: Any, policy_state: Any, seed: Any = None) -> PolicyStep:
        total = np.sum(time_step.observation["x"], axis=-1)
        return PolicyStep({"a": np.asarray(total, np.int64) + policy_state}, policy_state + 1, np.float32(total))


def step(num_rows: int) -> ts.TimeStep:
    return ts.restart({"x": tf.ones([num_rows, 2])}, num_rows)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("batched", "num_rows"), [(False, 1), (True, 3)])
def test_actions_are_the_wrapped_policys(compiled: bool, batched: bool, num_rows: int) -> None:
    policy = TFPyPolicy(Counting(), py_policy_is_batched=batched)
    state = policy.get_initial_state(num_rows)
    np.testing.assert_array_equal(state, [4] * num_rows)
    assert state.dtype == tf.int64
    act = tf.function(policy.action) if compiled else policy.action
    found = act(step(num_rows), state)
    np.testing.assert_array_equal(found.action["a"], [6] * num_rows)
    np.testing.assert_array_equal(act(step(num_rows), found.state).action["a"], [7] * num_rows)
    assert found.info.shape == (num_rows,)
    assert policy.variables() == ()


def test_initial_states_are_known_in_a_graph() -> None:
    policy = TFPyPolicy(Counting())
    assert int(policy.get_initial_state(None)) == 4
    state = tf.function(lambda: policy.get_initial_state(2)).get_concrete_function()
    assert state.structured_outputs.shape == (2,)
    assert TFPyPolicy(RandomPyPolicy(SPEC, ACTION)).get_initial_state(3) == ()


def test_a_random_policy_draws_anew_at_each_call() -> None:
    policy = TFPyPolicy(RandomPyPolicy(SPEC, ACTION, seed=1))
    act = tf.function(policy.action)
    assert len({int(act(step(1)).action["a"][0]) for _ in range(30)}) > 3


def test_what_it_cannot_do_is_said() -> None:
    policy = TFPyPolicy(Counting())
    with pytest.raises(ValueError, match="py_policy_is_batched"):
        policy.action(step(2), policy.get_initial_state(2))
    with pytest.raises(NotImplementedError, match="seed"):
        policy.action(step(1), policy.get_initial_state(1), seed=1)
    with pytest.raises(NotImplementedError, match="distribution"):
        policy.distribution(step(1), policy.get_initial_state(1))
    with pytest.raises(TypeError, match="PyPolicy"):
        TFPyPolicy(policy)  # type: ignore[arg-type]
