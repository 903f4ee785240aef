"""Wrappers of Atari games: a stack of frames, a limit of steps, and a start by the FIRE button."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.environments.wrapper_base import PyEnvironmentBaseWrapper
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import StepType, TimeStep

_Reset = tuple[np.ndarray, dict[str, Any]]


class FrameStack4(gym.Wrapper):
    """Stacks the last four frames along the last dimension, the newest last. At first all are the same.

    Args:
        env: A Gymnasium environment whose observations are uint8 ``[height, width, 1]``.
    """

    STACK_SIZE = 4

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._frames: deque[np.ndarray] = deque(maxlen=self.STACK_SIZE)
        shape = (*env.observation_space.shape[:2], self.STACK_SIZE)
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> _Reset:
        frame, info = self.env.reset(seed=seed, options=options)
        self._frames.extend([frame] * self.STACK_SIZE)
        return np.concatenate(self._frames, axis=2), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        frame, *rest = self.env.step(action)
        self._frames.append(frame)
        return np.concatenate(self._frames, axis=2), *rest


class FireOnReset(gym.Wrapper):
    """Begins each episode with the actions 1 and 2 if action 1 is FIRE, which some games wait for."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> _Reset:
        observation, info = self.env.reset(seed=seed, options=options)
        meanings = self.env.unwrapped.get_action_meanings()
        if len(meanings) >= 3 and meanings[1] == "FIRE":
            self.env.step(1)
            observation, _, _, _, info = self.env.step(2)
        return observation, info


class AtariTimeLimit(PyEnvironmentBaseWrapper):
    """Truncates games after a number of steps, which counts all lives of a game.

    If an episode ended because a life was lost, the game goes on: the next step ignores its action and returns FIRST
    with the same observation.

    Args:
        env: The game. Its ``gym`` is an :class:`AtariPreprocessing` or wrappers around one, and it does not reset
            itself.
        duration: Largest number of steps.
    """

    def __init__(self, env: PyEnvironment, duration: int) -> None:
        super().__init__(env)
        self._duration = duration
        self._num_steps = 0

    @property
    def game_over(self) -> bool:
        """Whether the game has ended or reached its number of steps."""
        return self._num_steps >= self._duration or self.gym.get_wrapper_attr("game_over")

    def _reset(self) -> TimeStep:
        self._num_steps = 0
        return self._env.reset()

    def _step(self, action: Any) -> TimeStep:
        if self.game_over:
            return self.reset()
        last = self.current_time_step()
        if last.is_last():
            return ts.restart(last.observation)
        time_step = self._env.step(action)
        self._num_steps += 1
        if self._num_steps >= self._duration:
            time_step = time_step._replace(step_type=StepType.LAST)
        return time_step
