"""Functions that load Atari games of ale-py, with the usual preprocessing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.environments.atari_preprocessing import AtariPreprocessing
from distpolicy.environments.atari_wrappers import AtariTimeLimit, FrameStack4
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.environments.suite_gymnasium import wrap_env
from distpolicy.errors import ConfigError

DEFAULT_ATARI_GYM_WRAPPERS = (AtariPreprocessing,)
DEFAULT_ATARI_GYM_WRAPPERS_WITH_STACKING = (*DEFAULT_ATARI_GYM_WRAPPERS, FrameStack4)


def game(name: str = "Pong", obs_type: str = "image", mode: str = "NoFrameskip", version: str = "v0") -> str:
    """Returns the id of a game.

    Args:
        name: The game.
        obs_type: Must be ``image``. ale-py registers no games whose observation is the memory; make one by
            ``suite_gym.load(id, gym_kwargs={"obs_type": "ram"})``.
        mode: ``NoFrameskip``, or an empty string for a game that skips frames itself.
        version: ``v0``, which repeats the last action in a quarter of the steps, or ``v4``.

    Raises:
        ValueError: If ale-py does not have such ids.
    """
    for what, value, allowed in (
        ("obs_type", obs_type, ("image",)),
        ("mode", mode, ("", "NoFrameskip")),
        ("version", version, ("v0", "v4")),
    ):
        if value not in allowed:
            raise ConfigError(f"{what} must be one of {allowed}, since ale-py has no others, but is {value!r}")
    return f"{name}{mode}-{version}"


def load(
    environment_name: str,
    discount: float = 1.0,
    max_episode_steps: int | None = None,
    gym_env_wrappers: Sequence[Callable[[gym.Env], gym.Env]] = DEFAULT_ATARI_GYM_WRAPPERS,
    env_wrappers: Sequence[Callable[[PyEnvironment], PyEnvironment]] = (),
    spec_dtype_map: Mapping[type, Any] | None = None,
) -> PyEnvironment:
    """Makes a game. Its observations are uint8 ``[84, 84, 1]`` by default.

    Args:
        environment_name: Gymnasium's id of a game without a frame skip of its own, such as ``PongNoFrameskip-v4``.
        discount: Discount of every step that does not terminate.
        max_episode_steps: Steps after which a game is truncated; None for the registered number, 0 for no limit. ale-py
            itself truncates after 108,000 frames.
        gym_env_wrappers: Wrappers for the Gymnasium environment, applied in this order. One must be
            :class:`AtariPreprocessing` or have its ``game_over``.
        env_wrappers: Wrappers for the PyEnvironment, applied in this order.
        spec_dtype_map: Dtypes that replace a space's own in its spec, by the space's class; uint8 for images if None.

    Raises:
        ConfigError: If ale-py is not installed.
    """
    try:
        import ale_py
    except ImportError as error:
        raise ConfigError("Atari games need ale-py: pip install 'distpolicy[atari]'") from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    gym.register_envs(ale_py)
    limit = gym.spec(environment_name).max_episode_steps if max_episode_steps is None else max_episode_steps
    return wrap_env(
        gym.make(environment_name, max_episode_steps=-1, render_mode="rgb_array"),
        discount,
        # The limit resets the game, so it is there even if there is no limit.
        max_episode_steps=limit or sys.maxsize,
        gym_env_wrappers=gym_env_wrappers,
        time_limit_wrapper=AtariTimeLimit,
        env_wrappers=env_wrappers,
        spec_dtype_map={gym.spaces.Box: np.uint8} if spec_dtype_map is None else spec_dtype_map,
        auto_reset=False,
    )
