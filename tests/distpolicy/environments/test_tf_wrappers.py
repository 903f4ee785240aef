from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from counting_env import CountingEnv

from distpolicy.environments.random_py_environment import RandomPyEnvironment
from distpolicy.environments.tf_py_environment import TFPyEnvironment
from distpolicy.environments.tf_wrappers import OneHotActionWrapper, TFEnvironmentBaseWrapper
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec


def test_a_wrapper_passes_everything_on() -> None:
    env = TFPyEnvironment(CountingEnv())
    wrapper = TFEnvironmentBaseWrapper(env)
    assert wrapper.batched
    assert wrapper.batch_size == 1
    assert wrapper.time_step_spec() is env.time_step_spec()
    assert wrapper.action_spec() == env.action_spec()
    assert wrapper.observation_spec() == env.observation_spec()
    assert wrapper.pyenv is env.pyenv
    assert bool(wrapper.reset().is_first())
    assert float(wrapper.step(tf.constant([3])).reward[0]) == 3.0
    assert float(wrapper.current_time_step().reward[0]) == 3.0
    assert wrapper.render().shape == (1, 2, 2, 3)
    with pytest.raises(AttributeError):
        _ = wrapper.no_such_name


def test_the_largest_element_is_the_action() -> None:
    inner = CountingEnv()
    env = OneHotActionWrapper(TFPyEnvironment(inner))
    assert env.action_spec().shape == (6,)
    assert env.action_spec().dtype == tf.int32
    env.reset()
    assert float(env.step(tf.one_hot([4], 6, dtype=tf.int32)).reward[0]) == 4.0
    compiled = tf.function(env.step)
    assert float(compiled(tf.one_hot([2], 6, dtype=tf.int32)).reward[0]) == 2.0
    assert [int(action) for action in inner.actions] == [4, 2]


def test_nests_and_bounds_that_do_not_begin_with_0() -> None:
    taken = []

    def reward(step_type: object, action: object, observation: object) -> np.ndarray:
        taken.append(action)
        return np.zeros((), np.float32)

    spec = {
        "move": BoundedArraySpec((2,), np.int64, 5, 7, "move"),
        "turn": BoundedArraySpec((), np.float32, -1, 1, "turn"),
    }
    env = OneHotActionWrapper(TFPyEnvironment(RandomPyEnvironment(ArraySpec((), np.float32), spec, reward_fn=reward)))
    assert env.action_spec()["move"].shape == (2, 3)
    assert env.action_spec()["turn"].dtype == tf.float32
    env.reset()
    env.step({"move": tf.constant([[[0, 0, 1], [1, 0, 0]]], tf.int64), "turn": tf.constant([0.5])})
    np.testing.assert_array_equal(taken[0]["move"], [7, 5])
    assert float(taken[0]["turn"]) == 0.5


def test_actions_of_more_dimensions_are_refused() -> None:
    spec = BoundedArraySpec((2, 2), np.int64, 0, 1)
    env = TFPyEnvironment(RandomPyEnvironment(ArraySpec((), np.float32), spec))
    with pytest.raises(ValueError, match="at most one dimension"):
        OneHotActionWrapper(env)
