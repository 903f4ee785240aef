"""Environments with habits that an evaluation meets."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np


class Base(gym.Env):
    """Ten steps, each with a reward of 1."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    length = 10

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.n = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.n += 1
        return np.zeros(2, np.float32), 1.0, self.n >= self.length, False, {}


class Endless(Base):
    """An environment whose episodes do not end."""

    length = 10**12


class EndsWhereActionsVary(Base):
    """A policy that draws its actions ends its episodes, and one that always takes the same does not."""

    length = Endless.length

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.last: int | None = None
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        ended, self.last = self.last is not None and int(action) != self.last, int(action)
        return observation, reward, ended, truncated, info


class FailsRarely(Base):
    """A simulator that goes away in one step of fifty."""

    def step(self, action: Any) -> Any:
        if self.np_random.random() < 0.02:
            raise OSError("simulator gone")
        return super().step(action)


class FailsAlways(Base):
    """A simulator that goes away in the third step of every episode."""

    def step(self, action: Any) -> Any:
        if self.n == 2:
            raise OSError("simulator gone")
        return super().step(action)


class SoundOnlyOnce(Base):
    """Sound until the end of its first episode, NaN after it."""

    episode = 0

    def reset(self, **kwargs: Any) -> Any:
        self.episode += 1
        return super().reset(**kwargs)

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        return observation * (np.nan if self.episode > 1 else 1.0), *rest


class Counted(Base):
    """Counts how many environments there are at a time."""

    most: ClassVar[int] = 0
    now: ClassVar[int] = 0

    def __init__(self) -> None:
        Counted.now += 1
        Counted.most = max(Counted.most, Counted.now)

    def close(self) -> None:
        Counted.now -= 1


class Informs(Base):
    """Tells success and distance at the end of an episode, among other things."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = super().step(action)
        numbers = {"is_success": self.np_random.random() < 0.5, "distance": np.float32(2.5), "step": self.n}
        other = {"name": "x", "path": np.zeros(3), "nothing": float("nan"), "episode": {"r": 1.0}}
        return observation, reward, terminated, truncated, {**numbers, **other}


class Tells(Base):
    """Tells more numbers at the end of an episode than are kept, as real ones, bools and arrays of one element."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seed = self.seed if seed is None else seed
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = super().step(action)
        numbers = {f"n{index:02d}": index + 100 * self.seed for index in range(20)}
        odd = {"odd": True} if self.seed % 2 else {}
        return observation, reward, terminated, truncated, {"text": "x", **numbers, **odd} if terminated else {}


def tells_in_one_call(num_envs: int) -> gym.vector.VectorEnv:
    """The vectorised form of Tells."""
    return gym.vector.SyncVectorEnv([Tells] * num_envs, autoreset_mode=gym.vector.AutoresetMode.NEXT_STEP)


TELLS = "distpolicy-tests/Tells-v0"
if TELLS not in gym.registry:
    gym.register(TELLS, entry_point=Tells, vector_entry_point=tells_in_one_call, disable_env_checker=True)
