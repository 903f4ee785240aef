from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.environments import suite_mujoco


class Float64(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: object = None) -> object:
        return np.full(3, 0.1), {}

    def step(self, action: object) -> object:
        return np.full(3, 0.2), 1.0, False, False, {}


def test_observations_are_float32() -> None:
    gym.register("distpolicy-tests/Float64-v0", Float64, max_episode_steps=2, disable_env_checker=True)
    try:
        env = suite_mujoco.load("distpolicy-tests/Float64-v0", discount=0.5)
        assert env.observation_spec().dtype == np.float32
        assert env.reset().observation.dtype == np.float32
        action = np.zeros(1, np.float32)
        steps = [env.step(action), env.step(action)]
        assert [int(step.step_type) for step in steps] == [1, 2]
        assert float(steps[1].discount) == 0.5
        as_made = suite_mujoco.load("distpolicy-tests/Float64-v0", spec_dtype_map={})
        assert as_made.observation_spec().dtype == np.float64
    finally:
        del gym.registry["distpolicy-tests/Float64-v0"]


def test_a_mujoco_environment_runs() -> None:
    if not suite_mujoco.is_available():
        pytest.skip("MuJoCo is not installed")
    env = suite_mujoco.load("InvertedPendulum-v5")
    assert env.step(env.action_spec().minimum).observation.dtype == np.float32
