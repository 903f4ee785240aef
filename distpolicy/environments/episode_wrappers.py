"""Wrappers that change or count the steps of an episode."""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from typing import Any

import numpy as np

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.environments.wrapper_base import PyEnvironmentBaseWrapper
from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import StepType, TimeStep


class TimeLimit(PyEnvironmentBaseWrapper):
    """Truncates episodes after a number of steps: the last step keeps its discount.

    Args:
        env: The environment, without a batch dimension.
        duration: The number of steps.
        handle_auto_reset: See :class:`PyEnvironment`.
    """

    def __init__(self, env: PyEnvironment, duration: int, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        self._refuse_batches()
        self._duration = duration
        self._num_steps: int | None = None

    @property
    def duration(self) -> int:
        """The number of steps after which an episode is truncated."""
        return self._duration

    def _reset(self) -> TimeStep:
        self._num_steps = 0
        return self._env.reset()

    def _step(self, action: Any) -> TimeStep:
        if self._num_steps is None:
            return self._reset()
        time_step = self._env.step(action)
        self._num_steps += 1
        if self._num_steps >= self._duration:
            time_step = time_step._replace(step_type=StepType.LAST)
        if time_step.is_last():
            self._num_steps = None
        return time_step


class FixedLength(PyEnvironmentBaseWrapper):
    """Gives every episode the same number of steps: cuts long ones, and repeats the last step of short ones.

    A cut episode is truncated: its last step keeps its discount. A repeated step is LAST with reward and discount 0.

    Args:
        env: The environment, without a batch dimension.
        fix_length: The number of steps.
        handle_auto_reset: See :class:`PyEnvironment`.
    """

    def __init__(self, env: PyEnvironment, fix_length: int, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        self._refuse_batches()
        self._fix_length = fix_length
        self._num_steps = 0

    @property
    def fix_length(self) -> int:
        """The number of steps of an episode."""
        return self._fix_length

    def _reset(self) -> TimeStep:
        self._num_steps = 0
        return self._env.reset()

    def _step(self, action: Any) -> TimeStep:
        if self._num_steps >= self._fix_length:
            return self._reset()
        self._num_steps += 1
        last = self.current_time_step()
        if last.is_last():
            return last._replace(reward=np.zeros_like(last.reward), discount=np.zeros_like(last.discount))
        time_step = self._env.step(action)
        return time_step if self._num_steps < self._fix_length else time_step._replace(step_type=StepType.LAST)


class ActionRepeat(PyEnvironmentBaseWrapper):
    """Takes each action several times, or until the episode ends, and adds the rewards.

    Args:
        env: The environment, without a batch dimension.
        times: How often an action is taken, 2 or more.
        handle_auto_reset: See :class:`PyEnvironment`.

    Raises:
        ValueError: If ``times`` is below 2.
    """

    def __init__(self, env: PyEnvironment, times: int, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        self._refuse_batches()
        if times <= 1:
            raise ConfigError(f"times must be 2 or more, but is {times}")
        self._times = times

    def _step(self, action: Any) -> TimeStep:
        time_step = self._env.step(action)
        total = np.asarray(time_step.reward)
        for _ in range(self._times - 1):
            if time_step.is_first() or time_step.is_last():
                break
            time_step = self._env.step(action)
            total = total + time_step.reward
        return time_step._replace(reward=np.asarray(total, np.asarray(time_step.reward).dtype))


class RunStats(PyEnvironmentBaseWrapper):
    """Counts episodes, resets and steps. An episode counts when it ends.

    Args:
        env: The environment, without a batch dimension.
    """

    def __init__(self, env: PyEnvironment) -> None:
        super().__init__(env)
        self._refuse_batches()
        self._episodes = self._resets = self._episode_steps = self._total_steps = 0

    @property
    def episodes(self) -> int:
        """Number of episodes that have ended."""
        return self._episodes

    @property
    def resets(self) -> int:
        """Number of episodes that have begun."""
        return self._resets

    @property
    def episode_steps(self) -> int:
        """Number of steps in the current episode."""
        return self._episode_steps

    @property
    def total_steps(self) -> int:
        """Number of steps in all episodes."""
        return self._total_steps

    def _reset(self) -> TimeStep:
        return self._counted(self._env.reset())

    def _step(self, action: Any) -> TimeStep:
        return self._counted(self._env.step(action))

    def _counted(self, time_step: TimeStep) -> TimeStep:
        if time_step.is_first():
            self._resets += 1
            self._episode_steps = 0
        else:
            self._total_steps += 1
            self._episode_steps += 1
        self._episodes += int(time_step.is_last())
        return time_step


class PerformanceProfiler(PyEnvironmentBaseWrapper):
    """Profiles the environment with cProfile.

    Args:
        env: The environment.
        process_profile_fn: Called with the profile after every ``process_steps`` steps. Then a new profile begins.
        process_steps: The number of steps of a profile.
    """

    def __init__(
        self, env: PyEnvironment, process_profile_fn: Callable[[cProfile.Profile], Any], process_steps: int
    ) -> None:
        super().__init__(env)
        self._process_profile_fn, self._process_steps = process_profile_fn, process_steps
        self._profile = cProfile.Profile()
        self._num_steps = 0

    def _reset(self) -> TimeStep:
        return self._profile.runcall(self._env.reset)

    def _step(self, action: Any) -> TimeStep:
        time_step = self._profile.runcall(self._env.step, action)
        self._num_steps += 1
        if self._num_steps >= self._process_steps:
            self._process_profile_fn(self._profile)
            self._profile, self._num_steps = cProfile.Profile(), 0
        return time_step
