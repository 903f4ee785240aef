"""Gymnasium's environments by name, as PyEnvironments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym

from distpolicy.environments.gymnasium_wrapper import GymnasiumWrapper
from distpolicy.environments.py_environment import PyEnvironment


def load(
    environment_name: str,
    discount: float = 1.0,
    max_episode_steps: int | None = None,
    gym_env_wrappers: Sequence[Callable[[gym.Env], gym.Env]] = (),
    env_wrappers: Sequence[Callable[[PyEnvironment], PyEnvironment]] = (),
    spec_dtype_map: Mapping[type, Any] | None = None,
    gym_kwargs: Mapping[str, Any] | None = None,
    render_kwargs: Mapping[str, Any] | None = None,
) -> PyEnvironment:
    """Makes an environment that Gymnasium knows.

    Args:
        environment_name: Such as ``CartPole-v1``.
        discount: Discount of every step that does not terminate.
        max_episode_steps: Steps after which an episode is truncated; None for the registered number, 0 for no limit.
        gym_env_wrappers: Called on the Gymnasium environment, in this order.
        env_wrappers: Called on the PyEnvironment, in this order.
        spec_dtype_map: From classes of spaces to dtypes of their specs.
        gym_kwargs: Arguments of the environment.
        render_kwargs: Arguments of its ``render``.
    """
    # Gymnasium's -1 is no limit.
    limit = -1 if max_episode_steps == 0 else max_episode_steps
    env = gym.make(environment_name, max_episode_steps=limit, **dict(gym_kwargs or {}))
    return wrap_env(
        env,
        discount,
        gym_env_wrappers=gym_env_wrappers,
        env_wrappers=env_wrappers,
        spec_dtype_map=spec_dtype_map,
        render_kwargs=render_kwargs,
    )


def wrap_env(
    gym_env: gym.Env,
    discount: float = 1.0,
    max_episode_steps: int | None = None,
    gym_env_wrappers: Sequence[Callable[[gym.Env], gym.Env]] = (),
    time_limit_wrapper: Callable[[PyEnvironment, int], PyEnvironment] | None = None,
    env_wrappers: Sequence[Callable[[PyEnvironment], PyEnvironment]] = (),
    spec_dtype_map: Mapping[type, Any] | None = None,
    auto_reset: bool = True,
    render_kwargs: Mapping[str, Any] | None = None,
) -> PyEnvironment:
    """Wraps an environment that has been made.

    Args:
        gym_env: The environment.
        discount: As for :func:`load`.
        max_episode_steps: Steps after which an episode is truncated; None or 0 for no limit beside its own.
        gym_env_wrappers: As for :func:`load`.
        time_limit_wrapper: Called on the PyEnvironment with the limit, if there is one; None for Gymnasium's own limit.
        env_wrappers: As for :func:`load`.
        spec_dtype_map: As for :func:`load`.
        auto_reset: Whether a step after LAST is a reset.
        render_kwargs: As for :func:`load`.
    """
    for wrapper in gym_env_wrappers:
        gym_env = wrapper(gym_env)
    if max_episode_steps and time_limit_wrapper is None:
        gym_env = gym.wrappers.TimeLimit(gym_env, max_episode_steps)
    env: PyEnvironment = GymnasiumWrapper(
        gym_env, discount, spec_dtype_map, auto_reset=auto_reset, render_kwargs=render_kwargs
    )
    if max_episode_steps and time_limit_wrapper is not None:
        env = time_limit_wrapper(env, max_episode_steps)
    for env_wrapper in env_wrappers:
        env = env_wrapper(env)
    return env
