"""AtariPreprocessing: frames of an Atari game as small grey images."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.errors import ConfigError


class AtariPreprocessing(gym.wrappers.AtariPreprocessing):
    """Repeats each action, and returns the maximum of the last two frames, grey and smaller: uint8 ``[S, S, 1]``.

    It is Gymnasium's wrapper of the same name without idle steps at the start of an episode. It follows Mnih et al.,
    "Human-level control through deep reinforcement learning" (2015), and Machado et al., "Revisiting the Arcade
    Learning Environment" (2018).

    Args:
        env: A game whose own frame skip is 1, such as ``PongNoFrameskip-v4``.
        frame_skip: Frames that each action is repeated for.
        terminal_on_life_loss: Whether an episode ends when a life is lost.
        screen_size: S, the height and width of an observation in pixels.

    Attributes:
        game_over: Whether the game itself has ended, rather than a life.

    Raises:
        ValueError: If ``frame_skip`` or ``screen_size`` is not positive, or the game skips frames itself.
    """

    def __init__(
        self, env: gym.Env, frame_skip: int = 4, terminal_on_life_loss: bool = False, screen_size: int = 84
    ) -> None:
        for name, value in (("frame_skip", frame_skip), ("screen_size", screen_size)):
            if value < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {value}")
        super().__init__(
            env,
            noop_max=0,
            frame_skip=frame_skip,
            screen_size=screen_size,
            terminal_on_life_loss=terminal_on_life_loss,
            grayscale_newaxis=True,
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        self.game_over = False
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        result = super().step(action)
        # Gymnasium's wrapper says that the game is over when a life is lost.
        self.game_over = bool(self.ale.game_over())
        return result
