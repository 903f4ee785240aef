"""Errors that no new environment helps against are told at once; those that may pass by themselves are tried again."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environment_streams import stream

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.policy_step import PolicyStep
from workers.collection.evaluator import Evaluator
from workers.environments.factory import EnvironmentFactory
from workers.environments.fault_log import FaultLog
from workers.restart_budget import RestartBudgetConfig

SEEDS, ACTION = (10, 11, 12), np.zeros(3, np.int64)
QUICK = RestartBudgetConfig(max_restarts=5, backoff_s=0.0)


class Fails(gym.Env):
    """Raises an error in a call, or returns NaN.

    Args:
        error: What it raises; None to return NaN.
        call: ``reset``, or the number of the step in an episode that fails.
        episode: The episode that fails, counted from 1; 0 for every one.
        chance: The probability with which it fails there.
    """

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, error: Exception | None, call: Any = 2, episode: int = 0, chance: float = 1.0) -> None:
        self._error, self._call, self._episode, self._chance = error, call, episode, chance
        self._num_episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._num_episodes += 1
        self._num_steps = 0
        return self._observation("reset"), {}

    def step(self, action: Any) -> Any:
        self._num_steps += 1
        return self._observation(self._num_steps), 1.0, self._num_steps == 4, False, {}

    def _observation(self, call: Any) -> np.ndarray:
        fails = call == self._call and self._episode in (0, self._num_episodes)
        if fails and self.np_random.random() < self._chance:
            if self._error is not None:
                raise self._error
            return np.full(2, np.nan, np.float32)
        return np.zeros(2, np.float32)


class Idle:
    """A policy that always takes action 0."""

    def get_initial_state(self, batch_size: int) -> tuple[()]:
        return ()

    def action(self, time_step: Any, state: Any, seed: Any) -> Any:
        return PolicyStep(np.zeros(len(time_step.reward), np.int64), (), ())


def factory_of(mode: Any, restarts: RestartBudgetConfig = QUICK, **kwargs: Any) -> EnvironmentFactory:
    return EnvironmentFactory("toy", mode, kwargs, restarts=restarts).with_callable(Fails)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("call", ["reset", 1, 3])
def test_an_error_of_code_in_the_same_step_of_new_environments_is_told_at_once(mode: str, call: Any) -> None:
    environment = factory_of(mode, RestartBudgetConfig(), error=KeyError("goal"), call=call)(3)
    with pytest.raises(EnvironmentCrashedError) as caught:
        stream(environment, 50, SEEDS, ACTION)
    name = "reset" if call == "reset" else "step"
    assert str(caught.value).startswith(
        f"env {environment.name} raised KeyError in {name}: 'goal'; 3 new environments in a row have failed in this way"
    )
    # Three or four in each slot, which wait together for 0.05, 0.1 and 0.2 s.
    assert environment.num_restarts <= 9


@pytest.mark.parametrize("call", ["reset", 2])
def test_an_evaluation_whose_environments_return_nan_is_told_at_once(call: Any) -> None:
    factory = factory_of("sync", RestartBudgetConfig(), error=None, call=call)
    with pytest.raises(EnvironmentCrashedError, match=r"returned NaN .*; 3 new environments in a row have failed"):
        Evaluator(factory, Idle(), num_envs=8).evaluate(20)


@pytest.mark.parametrize("error", [OSError("no simulator"), RuntimeError("time-out of the simulator")])
def test_what_may_pass_by_itself_has_its_whole_budget(error: Exception) -> None:
    environment = factory_of("sync", error=error, call=1)(3)
    with pytest.raises(EnvironmentCrashedError, match="it was replaced 5 times within 10,000 steps"):
        stream(environment, 50, SEEDS, ACTION)


def test_so_has_an_error_of_code_that_comes_after_an_episode() -> None:
    environment = factory_of("sync", error=KeyError("goal"), episode=2)(3)
    with pytest.raises(EnvironmentCrashedError, match="it was replaced 5 times within 10,000 steps"):
        stream(environment, 100, SEEDS, ACTION)


def test_and_one_that_comes_by_chance() -> None:
    generous = RestartBudgetConfig(max_restarts=1000, backoff_s=0.0)
    environment = factory_of("sync", generous, error=KeyError("goal"), call=2, chance=0.2)(3)
    stream(environment, 300, SEEDS, ACTION)
    assert environment.num_restarts > 10


def test_env_slots_that_fail_together_wait_together() -> None:
    log = FaultLog("env", 20, RestartBudgetConfig(backoff_s=0.1, max_backoff_s=0.1), [])
    log.begin(range(20))
    for row in range(20):
        log.record(row, "step", "failed", "")
    begin = time.monotonic()
    for row in range(20):
        log.back_off(row)
    assert 0.08 < time.monotonic() - begin < 1.0
