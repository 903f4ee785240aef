from __future__ import annotations

import threading

import numpy as np
import pytest
import tensorflow as tf
from counting_env import CountingEnv

from distpolicy.environments import suite_gym, utils
from distpolicy.environments.batched_py_environment import BatchedPyEnvironment
from distpolicy.environments.random_py_environment import RandomPyEnvironment
from distpolicy.environments.tf_py_environment import TFPyEnvironment
from distpolicy.specs import array_spec, tensor_spec


def test_time_steps_are_tensors_with_a_batch_of_one() -> None:
    env = TFPyEnvironment(CountingEnv(2))
    assert (env.batch_size, env.batched) == (1, True)
    assert isinstance(env.action_spec(), tensor_spec.BoundedTensorSpec)
    assert env.observation_spec() == tensor_spec.TensorSpec((1,), tf.float32, "count")
    assert env.reward_spec().dtype == tf.float32
    first = env.current_time_step()
    assert first.is_first().numpy().tolist() == [True]
    assert first.observation.shape == (1, 1)
    step = env.step(tf.constant([4]))
    assert (float(step.reward[0]), float(step.discount[0])) == (4.0, 0.5)
    assert step.reward.dtype == tf.float32
    np.testing.assert_array_equal(env.current_time_step().observation, [[1.0]])
    assert bool(env.step(np.array([1], np.int32)).is_last()[0])
    assert bool(env.step(tf.constant([1])).is_first()[0])
    np.testing.assert_array_equal(env.reset().observation, [[0.0]])


def test_the_first_step_resets_and_then_steps() -> None:
    np.testing.assert_array_equal(TFPyEnvironment(CountingEnv()).step(tf.constant([1])).observation, [[1.0]])


def test_a_compiled_loop_steps_in_order() -> None:
    env = TFPyEnvironment(BatchedPyEnvironment([CountingEnv(3), CountingEnv(5, start=10)]))

    @tf.function
    def run(num_steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first = env.reset()
        tf.debugging.assert_equal(first.observation, env.current_time_step().observation)
        rewards, observation = tf.zeros([2]), first.observation
        for index in tf.range(num_steps):
            step = env.step(tf.fill([2], index))
            rewards, observation = rewards + step.reward, step.observation
        return rewards, observation

    rewards, observation = run(tf.constant(3))
    np.testing.assert_array_equal(rewards, [3.0, 3.0])
    np.testing.assert_array_equal(observation, [[3.0], [13.0]])
    assert env.pyenv.envs[0].actions == [0, 1, 2]
    rewards, _ = run(tf.constant(2))
    np.testing.assert_array_equal(rewards, [1.0, 1.0])


def test_shapes_are_known_in_a_graph() -> None:
    env = TFPyEnvironment(CountingEnv())
    spec = tf.function(env.reset).get_concrete_function().structured_outputs
    assert spec.observation.shape == (1, 1)
    assert spec.step_type.shape == (1,)


def test_tensors_keep_their_values_when_the_environment_reuses_its_array() -> None:
    class Reusing(RandomPyEnvironment):
        array = np.zeros((2, 1), np.float32)

        def _observe(self) -> np.ndarray:
            self.array += 1
            return self.array

    env = TFPyEnvironment(Reusing(array_spec.ArraySpec((1,), np.float32), batch_size=2, episode_end_probability=0.0))
    step = tf.function(lambda: env.step(()))
    first, kept = env.reset().observation, step().observation
    step()
    np.testing.assert_array_equal(first, [[1.0], [1.0]])
    np.testing.assert_array_equal(kept, [[2.0], [2.0]])


def test_dims_are_checked_if_wanted() -> None:
    env = TFPyEnvironment(CountingEnv(), check_dims=True)
    for action in ([1, 2], 1):
        with pytest.raises(ValueError, match="1 rows"):
            env.step(tf.constant(action))


def test_an_environment_that_breaks_its_spec_is_named() -> None:
    class Wrong(CountingEnv):
        def _observation(self) -> np.ndarray:
            return super()._observation().astype(np.float64)

    env = TFPyEnvironment(Wrong())
    with pytest.raises(ValueError, match=r"observation must be float32 \(1, 1\), but is float64"):
        env.reset()
    with pytest.raises(tf.errors.InvalidArgumentError, match="observation must be float32"):
        tf.function(env.reset)()


def test_isolation_makes_and_steps_the_environment_in_one_other_thread() -> None:
    threads = set()

    class Watched(CountingEnv):
        def __init__(self) -> None:
            super().__init__()
            threads.add(threading.get_ident())

        def _step(self, action: object) -> object:
            threads.add(threading.get_ident())
            return super()._step(action)

    env = TFPyEnvironment(Watched, isolation=True)
    env.step(tf.constant([1]))
    tf.function(env.step)(tf.constant([1]))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    env.close()
    assert env.pyenv.envs[0].closed


def test_other_objects_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="PyEnvironment"):
        TFPyEnvironment(3)  # type: ignore[arg-type]


def test_attributes_of_the_environment_are_there() -> None:
    assert len(TFPyEnvironment(CountingEnv()).envs) == 1
    with pytest.raises(AttributeError):
        _ = TFPyEnvironment(CountingEnv()).no_such_attribute


def test_images_are_batches() -> None:
    env = TFPyEnvironment(CountingEnv())
    env.step(tf.constant([0]))
    assert env.render().shape == (1, 2, 2, 3)
    assert int(tf.function(env.render)()[0, 0, 0, 0]) == 1


def test_gymnasium_environments_load() -> None:
    env = utils.get_tf_env(suite_gym.load("CartPole-v1"))
    utils.validate_py_environment(suite_gym.load("CartPole-v1"), episodes=2)
    assert utils.get_tf_env(env) is env
    assert env.reset().observation.shape == (1, 4)
    with pytest.raises(ValueError, match="environment must be"):
        utils.get_tf_env(None)  # type: ignore[arg-type]
