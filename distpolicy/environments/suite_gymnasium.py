"""Functions that load Gymnasium environments as PyEnvironments."""

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
    """Makes an environment that is registered with Gymnasium.

    Args:
        environment_name: Gymnasium's id of the environment, such as ``CartPole-v1``.
        discount: Discount of every step that does not terminate.
        max_episode_steps: Steps after which an episode is truncated; None for the registered number, 0 for no limit.
        gym_env_wrappers: Wrappers for the Gymnasium environment, applied in this order.
        env_wrappers: Wrappers for the PyEnvironment, applied in this order.
        spec_dtype_map: Dtypes that replace a space's own in its spec, by the space's class.
        gym_kwargs: Arguments of the environment. Its ``render_mode`` is ``rgb_array`` unless it is given or the
            environment does not have this mode, so that ``render()`` returns an image.
        render_kwargs: Arguments of the environment's ``render``.
    """
    # In Gymnasium -1 means no limit.
    limit = -1 if max_episode_steps == 0 else max_episode_steps
    arguments = dict(gym_kwargs or {})
    if "render_mode" not in arguments and "rgb_array" in _render_modes(environment_name):
        # In Gymnasium the mode is chosen here, and without one there is nothing to render.
        arguments["render_mode"] = "rgb_array"
    env = gym.make(environment_name, max_episode_steps=limit, **arguments)
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
    """Wraps an existing Gymnasium environment.

    Args:
        gym_env: The environment.
        discount: See :func:`load`.
        max_episode_steps: Steps after which an episode is truncated; None or 0 for no limit besides the environment's.
        gym_env_wrappers: See :func:`load`.
        time_limit_wrapper: Function of the PyEnvironment and the limit, which applies ``max_episode_steps``; None for
            Gymnasium's TimeLimit.
        env_wrappers: See :func:`load`.
        spec_dtype_map: See :func:`load`.
        auto_reset: Whether a step after LAST resets the environment.
        render_kwargs: See :func:`load`.
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


def _render_modes(environment_name: str) -> Sequence[str]:
    """Returns the render modes that an environment's class declares; empty if its creator is a function."""
    entry_point: Any = gym.spec(environment_name).entry_point
    if isinstance(entry_point, str):
        entry_point = gym.envs.registration.load_env_creator(entry_point)
    return getattr(entry_point, "metadata", {}).get("render_modes", ())
