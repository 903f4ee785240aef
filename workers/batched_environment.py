"""BatchedEnvironment: the base of forms that step all their slots in one call."""

from __future__ import annotations

import abc
import traceback
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.array_nest import map_structure
from workers.action_rows import ActionRows
from workers.atari import channels_last_space
from workers.environment import Environment, first_steps, following_step_types
from workers.fault_log import in_one_line


class BatchedEnvironment(Environment):
    """Steps slots by one call, which resets a slot in the step after its episode's last.

    It cannot tell which of its slots failed, so that a failure is the end.

    Args:
        name: The environment's id, for messages.
        num_slots: B.
        observation_space: Of one slot, as the form returns it.
        action_space: Of one slot.
        channels_last: Whether observations are images ``[C, H, W]`` to be returned as ``[H, W, C]``.

    Raises:
        SpecMismatchError: If a space is not supported.
    """

    def __init__(
        self, name: str, num_slots: int, observation_space: gym.Space, action_space: gym.Space, channels_last: bool
    ) -> None:
        space = channels_last_space(observation_space) if channels_last else observation_space
        super().__init__(name, num_slots, space, action_space)
        self._channels_last = channels_last
        self._actions = ActionRows(action_space)
        self._ended = np.zeros(num_slots, np.bool_)

    def step(self, action: Any) -> TimeStep:
        try:
            observation, reward, terminated, truncated, _ = self._step_all(self._actions.clipped(action))
        except Exception as error:
            raise self._crashed(error, "step") from error
        ended = np.logical_or(terminated, truncated)
        self._ended, before = ended, self._ended
        discount = np.logical_not(terminated).astype(np.float32)
        return TimeStep(
            following_step_types(before, ended), np.asarray(reward, np.float32), discount, self._arranged(observation)
        )

    @abc.abstractmethod
    def _step_all(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Gymnasium's ``step`` of all slots."""

    def _begun(self, observation: Any) -> TimeStep:
        """The FIRST steps of observations that a reset returned."""
        self._ended[:] = False
        return first_steps(self._arranged(observation), self.num_slots)

    def _arranged(self, observation: Any) -> Any:
        if self._channels_last:
            return np.ascontiguousarray(np.moveaxis(observation, 1, -1))
        return map_structure(np.asarray, observation) if isinstance(observation, dict | tuple) else observation

    def _crashed(self, error: Exception, call: str) -> EnvironmentCrashedError:
        text = "".join(traceback.format_exception(error))
        return EnvironmentCrashedError(f"env {self.name} {in_one_line(error, call)}", traceback=text)
