"""Atari games: the usual preprocessing of frames, the same for every vectorization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class AtariConfig:
    """How the frames of an Atari game (ids ALE/...) become observations, the same in every vectorization."""

    frame_skip: int = 4
    """Number of frames that each action is repeated for. The observation is the maximum of the last two."""
    screen_size: int = 84
    """Height and width of an observation in pixels; it is grey."""
    frame_stack: int = 4
    """Number of frames in an observation, the newest last."""
    noop_max: int = 30
    """Largest number of idle steps at the start of an episode. The number is random."""
    episodic_life: bool = False
    """End an episode when a life is lost. Evaluations then count lives, too."""
    clip_rewards: bool = False
    """Clip rewards to [-1, 1]. Returns are then sums of the clipped ones."""
    channels_last: bool = True
    """Have the frames as the last dimension, as TensorFlow's convolutions on CPUs need them; else as the first."""

    def __post_init__(self) -> None:
        for name in ("frame_skip", "screen_size", "frame_stack"):
            if getattr(self, name) < 1:
                raise ConfigError(f"atari.{name} must be 1 or more, but is {getattr(self, name)}")
        if self.noop_max < 0:
            raise ConfigError(f"atari.noop_max must be 0 or more, but is {self.noop_max}")


def is_atari(env_id: str) -> bool:
    """Returns True if the id belongs to ale-py."""
    return env_id.startswith("ALE/")


def import_atari() -> None:
    """Registers ale-py's games if ale-py is installed."""
    try:
        import ale_py
    except ImportError:
        return
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    if not any(name.startswith("ALE/") for name in gym.registry):
        gym.register_envs(ale_py)


def wrap_atari(env: gym.Env, config: AtariConfig) -> gym.Env:
    """Wraps one game so that it returns preprocessed frames.

    Args:
        env: A game whose own frame skip is 1.
        config: How frames are preprocessed.
    """
    env = gym.wrappers.AtariPreprocessing(
        env,
        noop_max=config.noop_max,
        frame_skip=config.frame_skip,
        screen_size=config.screen_size,
        terminal_on_life_loss=config.episodic_life,
    )
    env = gym.wrappers.FrameStackObservation(env, config.frame_stack, padding_type="zero")
    if config.clip_rewards:
        env = gym.wrappers.ClipReward(env, -1.0, 1.0)
    return _ChannelsLast(env) if config.channels_last else env


def vector_arguments(config: AtariConfig | None) -> dict[str, Any]:
    """Returns the arguments with which ale-py's vectorised environment preprocesses frames in the same way.

    Args:
        config: How frames are preprocessed; None for raw frames.

    Raises:
        ConfigError: If ``config`` is None: ale-py's vectorised environment always preprocesses frames.
    """
    if config is None:
        raise ConfigError("ale-py's vectorised env always preprocesses frames; for raw frames use --vectorization sync")
    return {
        "frameskip": config.frame_skip,
        "img_height": config.screen_size,
        "img_width": config.screen_size,
        "stack_num": config.frame_stack,
        "noop_max": config.noop_max,
        "episodic_life": config.episodic_life,
        "reward_clipping": config.clip_rewards,
        "use_fire_reset": False,
    }


def envpool_arguments(config: AtariConfig | None, sticky_actions: float) -> dict[str, Any]:
    """Returns the arguments with which EnvPool preprocesses frames in the same way.

    Args:
        config: How frames are preprocessed; None for raw frames.
        sticky_actions: Probability that the previous action is repeated instead of the new one.

    Raises:
        ConfigError: If ``config`` is None: EnvPool always preprocesses frames.
    """
    if config is None:
        raise ConfigError("EnvPool always preprocesses Atari frames; for raw frames use --vectorization sync")
    return {
        "frame_skip": config.frame_skip,
        "img_height": config.screen_size,
        "img_width": config.screen_size,
        "stack_num": config.frame_stack,
        "noop_max": config.noop_max,
        "episodic_life": config.episodic_life,
        "reward_clip": config.clip_rewards,
        "use_fire_reset": False,
        "repeat_action_probability": sticky_actions,
    }


def channels_last_space(space: gym.Space) -> gym.spaces.Box:
    """Returns the space of images ``[H, W, C]`` for a space of images ``[C, H, W]``."""
    assert isinstance(space, gym.spaces.Box)
    low, high = (np.moveaxis(bound, 0, -1) for bound in (space.low, space.high))
    return gym.spaces.Box(low, high, dtype=space.dtype.type)


class _ChannelsLast(gym.ObservationWrapper):
    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.observation_space = channels_last_space(env.observation_space)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return np.moveaxis(observation, 0, -1)
