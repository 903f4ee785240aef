from __future__ import annotations

import numpy as np
import pytest

from distpolicy.environments import utils
from distpolicy.environments.random_py_environment import RandomPyEnvironment
from distpolicy.specs.array_spec import BoundedArraySpec

OBSERVATION = BoundedArraySpec((2,), np.float32, -1.0, 1.0)
ACTION = BoundedArraySpec((), np.int32, 0, 1)


@pytest.mark.parametrize("batch_size", [None, 3])
def test_it_follows_its_specs(batch_size: int | None) -> None:
    env = RandomPyEnvironment(OBSERVATION, ACTION, batch_size=batch_size, episode_end_probability=0.5)
    assert env.batch_size == batch_size
    utils.validate_py_environment(env, episodes=6)


def test_durations_bound_episodes() -> None:
    env = RandomPyEnvironment(OBSERVATION, episode_end_probability=1.0, min_duration=4)
    env.reset()
    assert [int(env.step(()).step_type) for _ in range(5)] == [1, 1, 1, 2, 0]
    env = RandomPyEnvironment(OBSERVATION, episode_end_probability=0.0, max_duration=2)
    env.reset()
    assert [int(env.step(()).step_type) for _ in range(5)] == [1, 2, 0, 1, 2]


def test_rewards_and_discounts_are_the_callers() -> None:
    env = RandomPyEnvironment(
        OBSERVATION,
        ACTION,
        episode_end_probability=0.0,
        discount=[0.2, 0.4],
        reward_fn=lambda step_type, action, observation: action * 2.0 + step_type,
        batch_size=2,
    )
    env.reset()
    step = env.step(np.array([0, 1], np.int32))
    np.testing.assert_array_equal(step.reward, [1.0, 3.0])
    np.testing.assert_array_equal(step.discount, np.float32([0.2, 0.4]))


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="discount"):
        RandomPyEnvironment(OBSERVATION, discount=[1.0, 1.0], batch_size=3)
    env = RandomPyEnvironment(OBSERVATION, reward_fn=lambda *_: [1.0, 2.0])
    env.reset()
    with pytest.raises(ValueError, match="reward_fn"):
        env.step(())
    env = RandomPyEnvironment(OBSERVATION, ACTION)
    env.reset()
    with pytest.raises(ValueError, match="int32"):
        env.step(np.float32(0.5))
    with pytest.raises(ValueError, match="rgb_array"):
        env.render("human")
    assert env.render().shape == (2, 2, 3)


def test_the_same_seed_gives_the_same_episode() -> None:
    one, other, third = (RandomPyEnvironment(OBSERVATION, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.reset().observation, other.reset().observation)
    assert (one.step(()).observation != third.reset().observation).any()
