"""PyEnvironment: the base of environments of NumPy arrays."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import TimeStep


class PyEnvironment(abc.ABC):
    """An environment or a batch of environments. The stream is FIRST, MID…, LAST, and then FIRST again.

    A subclass defines ``_reset``, ``_step``, ``observation_spec`` and ``action_spec``. After LAST its ``_step`` must
    ignore the action and reset, unless it sets ``handle_auto_reset``.

    Args:
        handle_auto_reset: Whether :meth:`step` resets the environment when :meth:`should_reset` returns True.
    """

    _current_time_step: TimeStep | None = None
    _handle_auto_reset = False

    def __init__(self, handle_auto_reset: bool = False) -> None:
        self._handle_auto_reset = handle_auto_reset

    @property
    def batched(self) -> bool:
        """Whether time steps and actions have a batch dimension."""
        return False

    @property
    def batch_size(self) -> int | None:
        """The number of environments, or None if there is no batch dimension.

        Raises:
            RuntimeError: If a subclass is batched and does not define ``batch_size``.
        """
        if self.batched:
            raise RuntimeError(f"{type(self).__name__} is batched, so it must define batch_size, too")
        return None

    def should_reset(self, current_time_step: TimeStep) -> bool:
        """Returns True if the next step must reset, which is when all environments are at LAST."""
        return bool(np.all(current_time_step.is_last()))

    @abc.abstractmethod
    def observation_spec(self) -> Any:
        """Returns the nest of array specs of one observation, without a batch dimension."""

    @abc.abstractmethod
    def action_spec(self) -> Any:
        """Returns the nest of array specs of one action, without a batch dimension."""

    def reward_spec(self) -> Any:
        """Returns the specs of one reward: a float32 scalar, unless a subclass overrides this."""
        return ts.time_step_spec(self.observation_spec()).reward

    def discount_spec(self) -> Any:
        """Returns the spec of one discount: a float32 scalar in [0, 1]."""
        return ts.time_step_spec(self.observation_spec()).discount

    def time_step_spec(self) -> TimeStep:
        """Returns the specs of one time step."""
        return ts.time_step_spec(self.observation_spec(), self.reward_spec())._replace(discount=self.discount_spec())

    def current_time_step(self) -> TimeStep:
        """Returns the time step of the last :meth:`reset` or :meth:`step`.

        Raises:
            ValueError: If neither has been called.
        """
        if self._current_time_step is None:
            raise ValueError(f"{type(self).__name__} has no time step yet; call reset() first")
        return self._current_time_step

    def reset(self) -> TimeStep:
        """Begins new episodes and returns their FIRST time step."""
        self._current_time_step = self._reset()
        return self._current_time_step

    def step(self, action: Any) -> TimeStep:
        """Takes an action.

        Before the first reset and after LAST, the environment resets instead: the action is ignored and the time step
        is FIRST.

        Args:
            action: Nest of arrays like ``action_spec``, with a batch dimension if the environment is batched.

        Returns:
            The next time step: FIRST with reward 0, MID, or LAST. The discount at LAST is 0 if the episode terminated
            and 1 if it was truncated.
        """
        if self._current_time_step is None or (self._handle_auto_reset and self.should_reset(self._current_time_step)):
            return self.reset()
        self._current_time_step = self._step(action)
        return self._current_time_step

    def close(self) -> None:  # noqa: B027  # most environments have nothing to do
        """Frees the environment's resources."""

    def __enter__(self) -> PyEnvironment:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def render(self, mode: str = "rgb_array") -> Any:
        """Returns an image of the environment, uint8 ``[height, width, 3]``; mode ``human`` shows a window.

        Raises:
            NotImplementedError: If the environment cannot be rendered.
        """
        raise NotImplementedError(f"{type(self).__name__} has no render()")

    def seed(self, seed: Any) -> Any:
        """Seeds the environment.

        Raises:
            NotImplementedError: If the environment does not take a seed.
        """
        raise NotImplementedError(f"{type(self).__name__} has no seed()")

    def get_info(self) -> Any:
        """Returns the environment's additional information on the last time step.

        Raises:
            NotImplementedError: If the environment has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get_info()")

    def get_state(self) -> Any:
        """Returns the environment's state for :meth:`set_state`.

        Raises:
            NotImplementedError: If the environment cannot be saved.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get_state()")

    def set_state(self, state: Any) -> None:
        """Restores a state that :meth:`get_state` returned.

        Raises:
            NotImplementedError: If the environment cannot be restored.
        """
        raise NotImplementedError(f"{type(self).__name__} has no set_state()")

    @abc.abstractmethod
    def _step(self, action: Any) -> TimeStep:
        """Implements :meth:`step`."""

    @abc.abstractmethod
    def _reset(self) -> TimeStep:
        """Implements :meth:`reset`."""
