"""Functions that load Gymnasium's MuJoCo environments."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.environments import suite_gymnasium
from distpolicy.environments.py_environment import PyEnvironment


def is_available() -> bool:
    """Returns True if MuJoCo is installed."""
    return importlib.util.find_spec("mujoco") is not None


def load(
    environment_name: str,
    discount: float = 1.0,
    max_episode_steps: int | None = None,
    gym_env_wrappers: Sequence[Callable[[gym.Env], gym.Env]] = (),
    env_wrappers: Sequence[Callable[[PyEnvironment], PyEnvironment]] = (),
    spec_dtype_map: Mapping[type, Any] | None = None,
) -> PyEnvironment:
    """Makes an environment. Its observations are float32, while Gymnasium's are float64.

    Args:
        environment_name: Gymnasium's id of the environment, such as ``HalfCheetah-v5``.
        discount: See :func:`distpolicy.environments.suite_gymnasium.load`, here and below.
        max_episode_steps: Steps after which an episode is truncated; None for the registered number, 0 for no limit.
        gym_env_wrappers: Wrappers for the Gymnasium environment, applied in this order.
        env_wrappers: Wrappers for the PyEnvironment, applied in this order.
        spec_dtype_map: Dtypes that replace a space's own in its spec, by the space's class; float32 for boxes if None.
    """
    dtypes = {gym.spaces.Box: np.float32} if spec_dtype_map is None else spec_dtype_map
    return suite_gymnasium.load(
        environment_name, discount, max_episode_steps, gym_env_wrappers, env_wrappers, spec_dtype_map=dtypes
    )
