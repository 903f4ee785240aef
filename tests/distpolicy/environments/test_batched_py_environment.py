from __future__ import annotations

import numpy as np
import pytest
from counting_env import CountingEnv

from distpolicy.environments.batched_py_environment import BatchedPyEnvironment, unstack_actions


@pytest.mark.parametrize("multithreading", [True, False])
def test_rows_are_the_environments_steps(multithreading: bool) -> None:
    env = BatchedPyEnvironment([CountingEnv(2), CountingEnv(3, start=10)], multithreading)
    assert env.batched
    assert env.batch_size == 2
    first = env.reset()
    np.testing.assert_array_equal(first.observation, [[0], [10]])
    assert first.is_first().all()
    env.step(np.array([1, 2], np.int32))
    step = env.step(np.array([3, 4], np.int32))
    np.testing.assert_array_equal(step.step_type, [2, 1])
    np.testing.assert_array_equal(step.reward, np.array([3, 4], np.float32))
    np.testing.assert_array_equal(step.discount, np.array([0, 0.5], np.float32))
    np.testing.assert_array_equal(step.observation, [[2], [12]])
    # Each row begins again by itself.
    np.testing.assert_array_equal(env.step(np.array([0, 0], np.int32)).step_type, [0, 2])
    np.testing.assert_array_equal(env.render()[:, 0, 0, 0], [0, 3])
    np.testing.assert_array_equal(env.get_info()["count"], [0, 3])
    assert env.get_state() == [0, 3]
    env.set_state([7, 8])
    assert [one.count for one in env.envs] == [7, 8]
    env.close()
    assert all(one.closed for one in env.envs)


def test_what_cannot_be_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        BatchedPyEnvironment([])
    with pytest.raises(ValueError, match="batch dimension already"):
        BatchedPyEnvironment([BatchedPyEnvironment([CountingEnv()])])

    class Other(CountingEnv):
        def action_spec(self) -> object:
            return super().action_spec().replace(maximum=9)

    with pytest.raises(ValueError, match="action_spec"):
        BatchedPyEnvironment([CountingEnv(), Other()])
    env = BatchedPyEnvironment([CountingEnv(), CountingEnv()])
    env.reset()
    with pytest.raises(ValueError, match="3 rows for 2 environments"):
        env.step(np.zeros(3, np.int32))


def test_actions_are_taken_apart_by_rows() -> None:
    rows = unstack_actions({"a": np.array([1, 2]), "b": (np.array([[3], [4]]),)})
    assert [row["a"] for row in rows] == [1, 2]
    assert [int(row["b"][0][0]) for row in rows] == [3, 4]
