"""Gymnasium's CartPole and Pendulum without velocities. A policy must infer them from earlier observations.

Importing this module registers ``StatelessCartPole-v1`` and ``StatelessPendulum-v1``.
``distpolicy.environments.partially_observed:StatelessCartPole-v1`` is then an id for Gymnasium and for every command.

- ``StatelessCartPole-v1``. Observation: Box float32 ``[2]``, the cart's position in m and the pole's angle in rad.
  Action: Discrete(2), a push to the left or right. Reward: 1 for each step. The episode terminates when the cart or the
  pole leaves its range, and is truncated after 500 steps. The task is solved at a mean return of 475.
- ``StatelessPendulum-v1``. Observation: Box float32 ``[2]``, cosine and sine of the angle. Action: Box float32
  ``[1]``, a torque of at most 2 N m in either direction. Reward: ``-(angle² + 0.1 velocity² + 0.001 torque²)`` for each
  step, from -16.3 to 0. It depends on the velocity, which is not observed. The episode is truncated after 200 steps.

References:
    Barto, Sutton and Anderson, "Neuronlike Adaptive Elements That Can Solve Difficult Learning Control Problems"
    (1983), for the cart and pole. Wierstra, Foerster, Peters and Schmidhuber, "Solving Deep Memory POMDPs with
    Recurrent Policy Gradients" (2007), for the cart and pole without velocities. Morad and others, "POPGym:
    Benchmarking Partially Observable Reinforcement Learning" (2023), for both tasks and the word stateless.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv


class StatelessCartPoleEnv(CartPoleEnv):
    """Gymnasium's CartPole. The observation is the cart's position and the pole's angle, float32 ``[2]``.

    Args:
        **kwargs: Arguments of Gymnasium's ``CartPoleEnv``.
    """

    observation_space: gym.spaces.Box

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observation_space = _every_other(self.observation_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Does the same as in Gymnasium, but returns the shorter observation."""
        observation, info = super().reset(seed=seed, options=options)
        return observation[::2], info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Does the same as in Gymnasium, but returns the shorter observation."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation[::2], reward, terminated, truncated, info


class StatelessCartPoleVectorEnv(CartPoleVectorEnv):
    """Gymnasium's vectorised CartPole with the observations of :class:`StatelessCartPoleEnv`, float32 ``[N, 2]``.

    The observations are views, which are safe to keep, since Gymnasium makes new arrays in every step.

    Args:
        **kwargs: Arguments of Gymnasium's ``CartPoleVectorEnv``.
    """

    single_observation_space: gym.spaces.Box

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.single_observation_space = _every_other(self.single_observation_space)
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Does the same as in Gymnasium, but returns the shorter observations."""
        observation, info = super().reset(seed=seed, options=options)
        return observation[:, ::2], info

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Does the same as in Gymnasium, but returns the shorter observations."""
        observation, reward, terminated, truncated, info = super().step(actions)
        return observation[:, ::2], reward, terminated, truncated, info


class StatelessPendulumEnv(PendulumEnv):
    """Gymnasium's Pendulum. The observation is the cosine and the sine of the angle, float32 ``[2]``.

    Args:
        **kwargs: Arguments of Gymnasium's ``PendulumEnv``.
    """

    observation_space: gym.spaces.Box

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        space = self.observation_space
        self.observation_space = gym.spaces.Box(space.low[:2], space.high[:2], dtype=space.dtype)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Does the same as in Gymnasium, but returns the shorter observation."""
        observation, info = super().reset(seed=seed, options=options)
        return observation[:2], info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Does the same as in Gymnasium, but returns the shorter observation."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation[:2], reward, terminated, truncated, info


def _every_other(space: gym.spaces.Box) -> gym.spaces.Box:
    """Returns the space of the positions, given a space in which positions and velocities alternate."""
    return gym.spaces.Box(space.low[::2], space.high[::2], dtype=space.dtype)


gym.register(
    "StatelessCartPole-v1",
    entry_point=f"{__name__}:StatelessCartPoleEnv",
    vector_entry_point=f"{__name__}:StatelessCartPoleVectorEnv",
    max_episode_steps=500,
    reward_threshold=475.0,
)
gym.register(
    "StatelessPendulum-v1",
    entry_point=f"{__name__}:StatelessPendulumEnv",
    vector_entry_point="distpolicy.environments.stateless_pendulum_vector_env:StatelessPendulumVectorEnv",
    max_episode_steps=200,
)
