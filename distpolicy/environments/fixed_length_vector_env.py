"""FixedLengthVectorEnv: the base of vectorised environments in which all episodes have the same length."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from distpolicy.errors import ConfigError, SpecMismatchError


class FixedLengthVectorEnv(gym.vector.VectorEnv, abc.ABC):
    """Steps N environments in NumPy arrays. All episodes have the same length, so they begin and end together.

    Episodes end by truncation. The step after the last one resets all environments and ignores its actions
    (``AutoresetMode.NEXT_STEP``). All environments draw from one generator.

    Args:
        num_envs: Number of environments, N.
        single_observation_space: Observation space of one environment.
        single_action_space: Action space of one environment.
        episode_length: Number of steps in an episode.

    Raises:
        ConfigError: If ``num_envs`` or ``episode_length`` is below 1.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}

    def __init__(
        self, num_envs: int, single_observation_space: gym.Space, single_action_space: gym.Space, episode_length: int
    ) -> None:
        for name, value in (("num_envs", num_envs), ("episode_length", episode_length)):
            if value < 1:
                raise ConfigError(f"{type(self).__name__}: {name} must be 1 or more, but is {value}")
        self.num_envs = num_envs
        self.single_observation_space = single_observation_space
        self.single_action_space = single_action_space
        self.observation_space = batch_space(single_observation_space, num_envs)
        self.action_space = batch_space(single_action_space, num_envs)
        self._episode_length = episode_length
        self._num_steps: int | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode in every environment.

        Args:
            seed: Seed of the generator; None to keep its state.
            options: Options of the environment. They also apply to the resets between episodes.

        Returns:
            Observations ``[N, ...]``, and an empty dict.
        """
        super().reset(seed=seed)
        self._configure(options or {})
        self._num_steps = 0
        return self._begin(), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps every environment, or resets all of them after an episode's last step.

        Args:
            actions: ``[N, ...]``, within the action space.

        Returns:
            Observations ``[N, ...]``, rewards float64 ``[N]``, terminations and truncations bool ``[N]``, and an empty
            dict. Later steps do not write to these arrays.

        Raises:
            gymnasium.error.ResetNeeded: If ``reset`` has not been called.
            SpecMismatchError: If the actions have another shape.
        """
        if self._num_steps is None:
            raise gym.error.ResetNeeded(f"{type(self).__name__}: call reset before step")
        actions = np.asarray(actions)
        if actions.shape != self.action_space.shape:
            raise SpecMismatchError(
                f"{type(self).__name__}: actions must have shape {self.action_space.shape}, but have {actions.shape}"
            )
        terminated = np.zeros(self.num_envs, np.bool_)
        if self._num_steps == self._episode_length:
            self._num_steps = 0
            return self._begin(), np.zeros(self.num_envs), terminated, np.zeros(self.num_envs, np.bool_), {}
        observation, reward = self._advance(actions, self._num_steps)
        self._num_steps += 1
        truncated = np.full(self.num_envs, self._num_steps == self._episode_length)
        return observation, reward, terminated, truncated, {}

    def _configure(self, options: dict[str, Any]) -> None:
        """Applies the options of a reset."""

    @abc.abstractmethod
    def _begin(self) -> np.ndarray:
        """Draws new episodes, and returns their first observations ``[N, ...]``."""

    @abc.abstractmethod
    def _advance(self, actions: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Takes a step, counted from 0 in an episode; returns observations ``[N, ...]`` and rewards float64 ``[N]``."""
