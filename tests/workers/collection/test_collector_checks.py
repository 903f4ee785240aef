"""What environments return and must not, found in a collector."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from toy_envs import CountingVectorEnv, StreamEnv
from toy_policies import scripted_collector

from distpolicy.errors import EnvironmentCrashedError
from workers.environments.factory import EnvironmentFactory
from workers.restart_budget import RestartBudgetConfig

DRIFTING = "distpolicy-tests/Drifting-v0"


def error_of(factory: EnvironmentFactory) -> EnvironmentCrashedError:
    """What two slots of three steps a rollout raise in one of two rollouts."""
    collector = scripted_collector(factory, num_slots=2, num_steps=3)

    def collect() -> None:
        for _ in range(2):
            collector.rollout()

    try:
        with pytest.raises(EnvironmentCrashedError) as caught:
            collect()
    finally:
        collector.close()
    return caught.value


class BadStepsEnv(StreamEnv):
    """Long episodes, in which single calls of ``step`` return or do what they must not.

    Args:
        nan_observation_at: The call that returns a NaN in the observation; None for none.
        nan_reward_at: Likewise in the reward.
        crash_at: The call that raises.
    """

    def __init__(self, **calls: int) -> None:
        super().__init__(terminate_after=100, truncate_after=100)
        self._bad_calls = calls

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, *rest = super().step(action)
        if self._calls == self._bad_calls.get("crash_at"):
            raise OSError("the simulator is gone")
        if self._calls == self._bad_calls.get("nan_observation_at"):
            observation[2] = math.nan
        if self._calls == self._bad_calls.get("nan_reward_at"):
            reward = math.nan
        return observation, reward, *rest


@pytest.mark.parametrize(
    ("calls", "what", "step"),
    [
        ({"nan_observation_at": 1}, "observation", 0),
        ({"nan_observation_at": 5, "nan_reward_at": 6}, "observation", 4),
        ({"nan_observation_at": 3, "nan_reward_at": 2}, "reward", 1),
        ({"nan_observation_at": 6}, "observation", 5),
    ],
)
def test_the_first_step_that_is_not_finite_is_told(calls: dict[str, int], what: str, step: int) -> None:
    error = error_of(EnvironmentFactory("test_collector_checks:BadStepsEnv", "sync", calls))
    assert error.message == f"env test_collector_checks:BadStepsEnv returned NaN or infinity as {what}"
    assert (error.slot, error.step) == (0, step)


def test_nan_is_told_rather_than_the_crash_that_follows_it() -> None:
    calls = {"nan_observation_at": 1, "crash_at": 2}
    rebuilds = RestartBudgetConfig(max_restarts=0)
    error = error_of(EnvironmentFactory("test_collector_checks:BadStepsEnv", "sync", calls, restarts=rebuilds))
    assert "NaN or infinity as observation" in error.message
    assert error.step == 0


class DriftingVectorEnv(CountingVectorEnv):
    """Its observations are of another shape from the fourth step on."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs, gym.vector.AutoresetMode.NEXT_STEP)
        self._steps = 0

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        observation, *rest = super().step(actions)
        self._steps += 1
        return observation.repeat(2, axis=1) if self._steps >= 4 else observation, *rest  # type: ignore[return-value]


def test_an_observation_of_another_shape_is_told_at_its_step() -> None:
    gym.register(DRIFTING, vector_entry_point=DriftingVectorEnv)
    error = error_of(EnvironmentFactory(DRIFTING, "vector_entry_point"))
    assert "returned observation as float32 (2,), not float32 (1,)" in error.message
    assert (error.slot, error.step) == (None, 3)


def test_large_finite_observations_are_no_error() -> None:
    # The sum of their squares is not finite.
    collector = scripted_collector(EnvironmentFactory("test_collector_checks:HugeEnv", "sync"), 2, 3)
    rollout, _ = collector.rollout()
    assert (rollout.observation == 1e200).all()


class HugeEnv(StreamEnv):
    """Large observations."""

    def _observation(self) -> np.ndarray:
        return np.full(5, 1e200)
