"""TFEnvironment: the base of environments of tensors, which can run inside a compiled function."""

from __future__ import annotations

import abc
from typing import Any

from distpolicy.trajectories.time_step import TimeStep


class TFEnvironment(abc.ABC):
    """A batch of environments. The stream of each is FIRST, MID…, LAST, and then FIRST again.

    A subclass defines ``_current_time_step``, ``_reset`` and ``_step``.

    Args:
        time_step_spec: Tensor specs of one environment's time step.
        action_spec: Nest of bounded tensor specs of one environment's action.
        batch_size: Number of environments, B.
    """

    def __init__(self, time_step_spec: TimeStep | None = None, action_spec: Any = None, batch_size: int = 1) -> None:
        self._time_step_spec = time_step_spec
        self._action_spec = action_spec
        self._batch_size = batch_size

    @property
    def batched(self) -> bool:
        """Whether time steps and actions have a batch dimension: always True."""
        return True

    @property
    def batch_size(self) -> int:
        """The number of environments."""
        return self._batch_size

    def time_step_spec(self) -> Any:
        """Returns the specs of one environment's time step."""
        return self._time_step_spec

    def action_spec(self) -> Any:
        """Returns the specs of one environment's action."""
        return self._action_spec

    def observation_spec(self) -> Any:
        """Returns the specs of one environment's observation."""
        return self.time_step_spec().observation

    def reward_spec(self) -> Any:
        """Returns the specs of one environment's reward."""
        return self.time_step_spec().reward

    def current_time_step(self) -> TimeStep:
        """Returns the time step of the last :meth:`reset` or :meth:`step`; begins episodes if there is none.

        Returns:
            Nest of tensors ``[B, ...]``.
        """
        return self._current_time_step()

    def reset(self) -> TimeStep:
        """Begins new episodes and returns their FIRST time step, tensors ``[B, ...]``."""
        return self._reset()

    def step(self, action: Any) -> TimeStep:
        """Takes an action. An environment at LAST ignores it and begins a new episode.

        Args:
            action: Nest of tensors ``[B, ...]`` like ``action_spec``.

        Returns:
            The next time step, tensors ``[B, ...]``.
        """
        return self._step(action)

    def render(self) -> Any:
        """Returns an image of each environment.

        Raises:
            NotImplementedError: If the environment cannot be rendered.
        """
        raise NotImplementedError(f"{type(self).__name__} has no render()")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_size={self._batch_size})"

    @abc.abstractmethod
    def _current_time_step(self) -> TimeStep:
        """Implements :meth:`current_time_step`."""

    @abc.abstractmethod
    def _reset(self) -> TimeStep:
        """Implements :meth:`reset`."""

    @abc.abstractmethod
    def _step(self, action: Any) -> TimeStep:
        """Implements :meth:`step`."""
