"""Deterministic environments whose every observation tells where it comes from."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

STREAM = "distpolicy-tests/Stream-v0"
BOX_ACTION = "distpolicy-tests/BoxAction-v0"
SHIFTED_ACTION = "distpolicy-tests/ShiftedAction-v0"
CRASHING = "distpolicy-tests/Crashing-v0"
SPACES = "distpolicy-tests/Spaces-v0"
SAME_STEP = "distpolicy-tests/SameStep-v0"
NO_RESET_MODE = "distpolicy-tests/NoResetMode-v0"
NOT_INSTALLED = "distpolicy-tests/NotInstalled-v0"
NO_SUCH_MODULE = "distpolicy-tests/NoSuchModule-v0"

# Places in an observation of StreamEnv.
EPISODE, STEP, SEED, LAST_ACTION, CALLS = range(5)


def episode_length(episode: int, seed: int, terminate_after: int, truncate_after: int) -> int:
    """Steps of an episode: those of different seeds differ, so that slots get out of step."""
    return terminate_after + seed % 3 if episode % 2 == 0 else truncate_after + seed % 2


class StreamEnv(gym.Env):
    """Episodes of known length: even ones terminate, odd ones are truncated; the n-th step's reward is n.

    Observations are float64 (episode, step in the episode, seed, last action or -1, calls of ``step`` so far).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, terminate_after: int = 3, truncate_after: int = 5) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (5,), np.float64)
        self.action_space: gym.Space = gym.spaces.Discrete(100)
        self._lengths = (terminate_after, truncate_after)
        self._seed = -1
        self._episode = -1
        self._calls = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self._seed, self._episode, self._calls = seed, -1, 0
        self._episode += 1
        self._step, self._last_action = 0, -1.0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._step += 1
        self._calls += 1
        self._last_action = float(np.asarray(action).reshape(-1)[0])
        ended = self._step >= episode_length(self._episode, self._seed, *self._lengths)
        even = self._episode % 2 == 0
        return self._observation(), float(self._step), ended and even, ended and not even, {}

    def _observation(self) -> np.ndarray:
        return np.array([self._episode, self._step, self._seed, self._last_action, self._calls], np.float64)


class BoxActionEnv(StreamEnv):
    """A StreamEnv with actions in [-0.5, 0.25]."""

    def __init__(self, terminate_after: int = 3, truncate_after: int = 5) -> None:
        super().__init__(terminate_after, truncate_after)
        self.action_space = gym.spaces.Box(-0.5, 0.25, (1,), np.float32)


class ShiftedActionEnv(gym.Env):
    """Actions 5, 6 and 7, each its own reward; episodes of 4 steps. Any other action is an error."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(3, start=5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._step = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        if not 5 <= int(action) <= 7:
            raise ValueError(f"action {action} is none of 5, 6 and 7")
        self._step += 1
        return self._observation(), float(action), self._step >= 4, False, {}

    def _observation(self) -> np.ndarray:
        return self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)


class CrashingEnv(StreamEnv):
    """A StreamEnv that fails in the slot that got one seed.

    Args:
        seed: The seed of the slot that fails.
        fault: ``step`` or ``reset`` to raise there, or the ``observation`` or ``reward`` that cannot be used.
        call: The first call of ``step`` (or of ``reset``), counted from 1, that fails.
    """

    def __init__(self, seed: int, fault: str, call: int) -> None:
        super().__init__(terminate_after=3, truncate_after=3)
        self._faulty_seed, self._fault, self._at = seed, fault, call
        self._resets = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        result = super().reset(seed=seed, options=options)
        self._resets += 1
        if self._due("reset", self._resets):
            raise OSError("the simulator\nis gone")
        return result

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, terminated, truncated, info = super().step(action)
        if self._due("step", self._calls):
            raise OSError("the simulator\nis gone")
        if self._due("observation", self._calls):
            observation[1] = math.nan
        if self._due("reward", self._calls):
            reward = -math.inf
        return observation, reward, terminated, truncated, info

    def _due(self, fault: str, calls: int) -> bool:
        return self._fault == fault and self._seed == self._faulty_seed and calls >= self._at


_SPACES: dict[str, gym.Space] = {
    "box": gym.spaces.Box(-1.0, 1.0, (2,), np.float32),
    "discrete": gym.spaces.Discrete(3),
    "multi_discrete": gym.spaces.MultiDiscrete([3, 4]),
    "multi_binary": gym.spaces.MultiBinary(4),
    "dict": gym.spaces.Dict({"position": gym.spaces.Box(-1.0, 1.0, (2,), np.float32)}),
    "tuple": gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.Discrete(3))),
    "text": gym.spaces.Text(8),
}


class SpacesEnv(gym.Env):
    """Has the spaces that it is told to have."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, observation: str = "box", action: str = "discrete") -> None:
        self.observation_space, self.action_space = _SPACES[observation], _SPACES[action]


class OtherResetModeEnv(gym.vector.VectorEnv):
    """A vectorised form that resets in another way than the one supported."""

    def __init__(self, num_envs: int, mode: gym.vector.AutoresetMode | None) -> None:
        self.metadata = {} if mode is None else {"autoreset_mode": mode}
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.single_action_space = gym.spaces.Discrete(2)


def _same_step(num_envs: int) -> gym.vector.VectorEnv:
    return OtherResetModeEnv(num_envs, gym.vector.AutoresetMode.SAME_STEP)


def _no_reset_mode(num_envs: int) -> gym.vector.VectorEnv:
    return OtherResetModeEnv(num_envs, None)


def _not_installed() -> gym.Env:
    raise gym.error.DependencyNotInstalled("box3d is not installed, run `pip install box3d`")


def register_all() -> None:
    """Registers them with Gymnasium in this process; without its checker, which would answer first."""
    entry_points: dict[str, Any] = {
        STREAM: StreamEnv,
        BOX_ACTION: BoxActionEnv,
        SHIFTED_ACTION: ShiftedActionEnv,
        CRASHING: CrashingEnv,
        SPACES: SpacesEnv,
        NOT_INSTALLED: _not_installed,
        NO_SUCH_MODULE: "package_that_nobody_installed.envs:Env",
    }
    for env_id, entry_point in entry_points.items():
        gym.register(env_id, entry_point=entry_point, disable_env_checker=True)
    gym.register(SAME_STEP, vector_entry_point=_same_step)
    gym.register(NO_RESET_MODE, vector_entry_point=_no_reset_mode)
