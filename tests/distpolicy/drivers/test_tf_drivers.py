"""Drivers over tensors. Each loop runs eagerly and compiled, with the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from counting_env import CountingEnv

from distpolicy.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from distpolicy.drivers.dynamic_step_driver import DynamicStepDriver
from distpolicy.drivers.tf_driver import TFDriver
from distpolicy.environments.batched_py_environment import BatchedPyEnvironment
from distpolicy.environments.tf_py_environment import TFPyEnvironment
from distpolicy.metrics import tf_metrics
from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.replay_buffers.tf_uniform_replay_buffer import TFUniformReplayBuffer
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.utils import common

COMPILED = pytest.mark.parametrize("compiled", [False, True])


class CountingPolicy(TFPolicy):
    """The action is the number of steps in the episode, from the state."""

    def __init__(self, env: TFPyEnvironment) -> None:
        super().__init__(env.time_step_spec(), env.action_spec(), policy_state_spec=tf.TensorSpec((), tf.int32))

    def _action(self, time_step: Any, policy_state: Any, seed: Any) -> PolicyStep:
        return PolicyStep(policy_state, policy_state + 1, ())


def make(*lengths: int) -> TFPyEnvironment:
    return TFPyEnvironment(BatchedPyEnvironment([CountingEnv(length) for length in lengths]))


def fixed(env: TFPyEnvironment) -> FixedPolicy:
    return FixedPolicy(np.int32(2), env.time_step_spec(), env.action_spec(), emit_log_probability=False)


def recorder(env: TFPyEnvironment, policy: TFPolicy) -> TFUniformReplayBuffer:
    return TFUniformReplayBuffer(policy.collect_data_spec, env.batch_size, 50)


def run_of(driver: Any, compiled: bool) -> Any:
    return common.function(driver.run) if compiled else driver.run


@COMPILED
def test_steps_are_counted_without_boundaries(compiled: bool) -> None:
    env = make(3)
    policy = fixed(env)
    buffer, steps = recorder(env, policy), tf_metrics.EnvironmentSteps()
    driver = DynamicStepDriver(env, policy, observers=[buffer.add_batch, steps], num_steps=5)
    run = run_of(driver, compiled)
    time_step, policy_state = run()
    assert policy_state == ()
    everything = buffer.gather_all()
    np.testing.assert_array_equal(everything.step_type, [[0, 1, 1, 2, 0, 1]])
    np.testing.assert_array_equal(everything.next_step_type, [[1, 1, 2, 0, 1, 1]])
    np.testing.assert_array_equal(everything.observation[..., 0], [[0, 1, 2, 3, 0, 1]])
    np.testing.assert_array_equal(everything.reward, [[2, 2, 2, 0, 2, 2]])
    assert int(steps.result()) == 5
    np.testing.assert_array_equal(time_step.observation, [[2.0]])
    # The next run goes on from there.
    run(time_step)
    np.testing.assert_array_equal(buffer.gather_all().observation[0, 6:, 0], [2, 3, 0, 1, 2, 3, 0])
    assert int(steps.result()) == 10


@COMPILED
def test_episodes_are_counted_over_all_rows(compiled: bool) -> None:
    env = make(2, 5)
    policy = fixed(env)
    buffer, episodes = recorder(env, policy), tf_metrics.NumberOfEpisodes()
    driver = DynamicEpisodeDriver(env, policy, observers=[buffer.add_batch, episodes], num_episodes=2)
    time_step, _ = run_of(driver, compiled)()
    # Row 0 arrives at LAST after 2 and 5 steps; its second boundary is the sixth step, like row 1's first.
    assert int(buffer.num_frames()) == 12
    assert int(episodes.result()) == 3
    np.testing.assert_array_equal(time_step.step_type, [0, 0])
    run_of(driver, compiled)(num_episodes=1)
    assert int(buffer.num_frames()) == 18
    assert int(tf.reduce_sum(buffer.gather_all().observation[0, 6])) == 0


@COMPILED
def test_the_state_of_a_policy_is_carried_and_reset(compiled: bool) -> None:
    env = make(3, 4)
    policy = CountingPolicy(env)
    buffer = recorder(env, policy)
    driver = DynamicStepDriver(env, policy, observers=[buffer.add_batch], num_steps=12)
    time_step, policy_state = run_of(driver, compiled)()
    np.testing.assert_array_equal(buffer.gather_all().action, [[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 4, 0, 1]])
    assert policy_state.shape == (2,)
    run_of(driver, compiled)(time_step, policy_state)
    np.testing.assert_array_equal(buffer.gather_all().action[:, 7], [3, 2])


@COMPILED
def test_random_actions_step_the_environment_in_order(compiled: bool) -> None:
    env = make(50)
    policy = RandomTFPolicy(env.time_step_spec(), env.action_spec())
    buffer = recorder(env, policy)
    run_of(DynamicStepDriver(env, policy, observers=[buffer.add_batch], num_steps=30), compiled)()
    everything = buffer.gather_all()
    np.testing.assert_array_equal(everything.observation[0, :, 0], np.arange(30))
    np.testing.assert_array_equal(everything.reward[0], everything.action[0])
    assert [int(action) for action in env.pyenv.envs[0].actions] == everything.action[0].numpy().tolist()


@COMPILED
def test_iterations_can_be_bounded(compiled: bool) -> None:
    env = make(9)
    policy = fixed(env)
    buffer = recorder(env, policy)
    driver = DynamicStepDriver(env, policy, observers=[buffer.add_batch], num_steps=100)
    run_of(driver, compiled)(maximum_iterations=4)
    assert int(buffer.num_frames()) == 4


def test_observers_in_python_see_each_step_of_an_eager_run() -> None:
    env = make(3)
    seen: list[Any] = []
    transitions: list[Any] = []
    driver = DynamicStepDriver(
        env, fixed(env), observers=[seen.append], transition_observers=[transitions.append], num_steps=4
    )
    driver.run()
    assert [bool(step.is_boundary()) for step in seen] == [False, False, False, True, False]
    assert len(transitions) == 5
    time_step, action_step, next_time_step = transitions[1]
    assert (float(time_step.observation[0, 0]), float(next_time_step.observation[0, 0])) == (1.0, 2.0)
    assert int(action_step.action[0]) == 2


def test_a_driver_takes_the_current_time_step() -> None:
    env = make(9)
    env.reset()
    env.step(tf.constant([1]))
    time_step, _ = DynamicStepDriver(env, fixed(env), num_steps=2).run()
    np.testing.assert_array_equal(time_step.observation, [[3.0]])
    time_step, _ = DynamicEpisodeDriver(env, fixed(env)).run(maximum_iterations=2)
    np.testing.assert_array_equal(time_step.observation, [[2.0]])


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("limits", "frames"), [({"max_steps": 4}, 5), ({"max_episodes": 2}, 7), ({"max_steps": 9, "max_episodes": 1}, 3)]
)
def test_tf_driver_ends_at_its_limit(eager: bool, limits: dict[str, int], frames: int) -> None:
    env = make(3)
    policy = fixed(env)
    buffer = recorder(env, policy)
    driver = TFDriver(env, policy, [buffer.add_batch], disable_tf_function=eager, **limits)
    time_step, policy_state = driver.run(env.reset())
    assert int(buffer.num_frames()) == frames
    driver.run(time_step, policy_state)
    assert int(buffer.num_frames()) > frames


def test_tf_driver_without_a_limit_is_refused() -> None:
    env = make(3)
    with pytest.raises(ValueError, match="max_steps or max_episodes"):
        TFDriver(env, fixed(env), [])
