"""StatelessPendulumVectorEnv: many pendulums without their angular velocities."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from distpolicy.environments.fixed_length_vector_env import FixedLengthVectorEnv

_MAX_TORQUE, _MAX_SPEED, _STEP_S = 2.0, 8.0, 0.05


class StatelessPendulumVectorEnv(FixedLengthVectorEnv):
    """Steps N environments like :class:`distpolicy.environments.partially_observed.StatelessPendulumEnv` in arrays.

    From the same state and torque, every step equals a step of Gymnasium's ``Pendulum-v1``. Rewards are float64, too.

    Args:
        num_envs: Number of environments, N.
        max_episode_steps: Number of steps in an episode.
        render_mode: ``rgb_array``, or None for no images.
        g: Acceleration of gravity in m/s².

    Attributes:
        state: Angles in rad (0 is upright) and angular velocities in rad/s, float64 ``[2, N]``.
    """

    metadata: ClassVar[dict[str, Any]] = {
        **FixedLengthVectorEnv.metadata,
        "render_modes": ["rgb_array"],
        "render_fps": 30,
    }
    # A class attribute, since Gymnasium also closes an environment when its constructor failed.
    _drawing: PendulumEnv | None = None

    def __init__(
        self, num_envs: int = 1, max_episode_steps: int = 200, render_mode: str | None = None, g: float = 10.0
    ) -> None:
        observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        action_space = gym.spaces.Box(-_MAX_TORQUE, _MAX_TORQUE, (1,), np.float32)
        super().__init__(num_envs, observation_space, action_space, max_episode_steps)
        self.render_mode = render_mode
        self.state = np.zeros((2, num_envs))
        self._gravity = g
        self._largest_start = np.zeros(2)
        self._last_torque: np.ndarray | None = None

    def _configure(self, options: dict[str, Any]) -> None:
        self._largest_start = np.array([float(options.get("x_init", np.pi)), float(options.get("y_init", 1.0))])

    def _begin(self) -> np.ndarray:
        self.state = self.np_random.uniform(-self._largest_start, self._largest_start, (self.num_envs, 2)).T
        self._last_torque = None
        return self._observations()

    def _advance(self, actions: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        angle, speed = self.state
        torque = np.clip(actions[:, 0], -_MAX_TORQUE, _MAX_TORQUE)
        from_upright = (angle + np.pi) % (2 * np.pi) - np.pi
        reward = -(np.square(from_upright) + 0.1 * np.square(speed) + 0.001 * np.square(torque))
        # The acceleration of a rod of 1 kg and 1 m that turns around its end.
        acceleration = 1.5 * self._gravity * np.sin(angle) + 3.0 * torque
        speed = np.clip(speed + acceleration * _STEP_S, -_MAX_SPEED, _MAX_SPEED)
        self.state = np.stack((angle + speed * _STEP_S, speed))
        self._last_torque = torque
        return self._observations(), reward

    def _observations(self) -> np.ndarray:
        angle = self.state[0]
        return np.stack((np.cos(angle), np.sin(angle)), axis=1, dtype=np.float32, casting="same_kind")

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Returns one image uint8 ``[500, 500, 3]`` for each environment; None without ``render_mode``."""
        if self.render_mode is None:
            return None
        if self._drawing is None:
            self._drawing = PendulumEnv(render_mode=self.render_mode)
        frames = []
        for slot, state in enumerate(self.state.T):
            self._drawing.state = state
            self._drawing.last_u = None if self._last_torque is None else self._last_torque[slot]
            frames.append(self._drawing.render())
        return tuple(frames)

    def close_extras(self, **kwargs: Any) -> None:
        """Frees the resources for drawing images."""
        if self._drawing is not None:
            self._drawing.close()
