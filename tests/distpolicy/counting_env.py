"""An environment whose observations tell what it did."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import numpy as np

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import TimeStep


class CountingEnv(PyEnvironment):
    """Episodes of ``length`` steps. The observation is the number of the step; the reward is the action.

    It does not call its base's constructor, as many programs do not, and resets itself after LAST.
    """

    def __init__(self, length: int = 3, start: float = 0.0) -> None:
        self.length, self.start, self.count, self.ended, self.closed = length, start, 0, False, False
        self.actions: list[Any] = []

    def observation_spec(self) -> Any:
        return ArraySpec((1,), np.float32, "count")

    def action_spec(self) -> Any:
        return BoundedArraySpec((), np.int32, 0, 5, "action")

    def render(self, mode: str = "rgb_array") -> Any:
        return np.full((2, 2, 3), self.count, np.uint8)

    def close(self) -> None:
        self.closed = True

    def get_state(self) -> int:
        return self.count

    def set_state(self, state: int) -> None:
        self.count = state

    def get_info(self) -> Any:
        return {"count": np.int64(self.count)}

    def _observation(self) -> np.ndarray:
        return np.array([self.start + self.count], np.float32)

    def _reset(self) -> TimeStep:
        self.count, self.ended = 0, False
        return ts.restart(self._observation())

    def _step(self, action: Any) -> TimeStep:
        if self.ended:
            return self.reset()
        self.actions.append(action)
        self.count += 1
        if self.count >= self.length:
            self.ended = True
            return ts.termination(self._observation(), float(action))
        return ts.transition(self._observation(), float(action), 0.5)


class FragileEnv(CountingEnv):
    """Fails where the action says so, and cannot be rendered."""

    def _step(self, action: Any) -> TimeStep:
        if action == 4:
            raise KeyError("lost in a maze")
        if action == 5:
            os._exit(3)
        return super()._step(action)

    def render(self, mode: str = "rgb_array") -> Any:
        raise NotImplementedError("nothing to see")


class WiderEnv(CountingEnv):
    """Has another action spec."""

    def action_spec(self) -> Any:
        return super().action_spec().replace(maximum=9)


def refuse() -> NoReturn:
    raise OSError("no game here")
