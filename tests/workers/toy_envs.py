"""Deterministic environments whose every observation tells where it comes from."""

from __future__ import annotations

import copy
import math
import os
import signal
import subprocess
import sys
import time
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

STREAM = "distpolicy-tests/Stream-v0"
BOX_ACTION = "distpolicy-tests/BoxAction-v0"
SHIFTED_ACTION = "distpolicy-tests/ShiftedAction-v0"
CRASHING = "distpolicy-tests/Crashing-v0"
SPACES = "distpolicy-tests/Spaces-v0"
SAME_STEP = "distpolicy-tests/SameStep-v0"
NEW_SAME_STEP = "distpolicy-tests/NewSameStep-v0"
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
    "bools": gym.spaces.Box(0, 1, (2,), np.bool_),
    "counter": gym.spaces.Box(0, 2**31 - 1, (2,), np.int32),
    "empty": gym.spaces.Dict({}),
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

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        raise AssertionError("only its spaces are looked at")


class OtherResetModeEnv(gym.vector.VectorEnv):
    """A vectorised form that resets in another way than the one supported."""

    def __init__(self, num_envs: int, mode: gym.vector.AutoresetMode | None) -> None:
        self.metadata = {} if mode is None else {"autoreset_mode": mode}
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.single_action_space = gym.spaces.Discrete(2)


def _same_step(num_envs: int) -> gym.vector.VectorEnv:
    return OtherResetModeEnv(num_envs, gym.vector.AutoresetMode.SAME_STEP)


class CountingVectorEnv(gym.vector.VectorEnv):
    """Episodes of three steps, whose observations count them; resets within the step unless it is told otherwise."""

    def __init__(
        self, num_envs: int, autoreset_mode: gym.vector.AutoresetMode = gym.vector.AutoresetMode.SAME_STEP
    ) -> None:
        self.metadata = {"autoreset_mode": autoreset_mode}
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(0.0, 3.0, (1,), np.float32)
        self.single_action_space = gym.spaces.Discrete(2)
        self._in_next_step = autoreset_mode == gym.vector.AutoresetMode.NEXT_STEP

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        self._count = np.zeros(self.num_envs, np.int64)
        return self._observation(), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        before = self._count
        self._count = np.where(before == 3, 0, before + 1) if self._in_next_step else before + 1
        ended = self._count == 3
        info = {}
        if not self._in_next_step:
            info = {"final_obs": self._observation(), "_final_obs": ended}
            self._count = np.where(ended, 0, self._count)
        reward = (before != 3).astype(np.float64)
        return self._observation(), reward, ended, np.zeros_like(ended), info

    def _observation(self) -> np.ndarray:
        return self._count[:, np.newaxis].astype(np.float32)


def _no_reset_mode(num_envs: int) -> gym.vector.VectorEnv:
    return OtherResetModeEnv(num_envs, None)


class FaultyEnv(StreamEnv):
    """A StreamEnv that fails by chance or after some calls.

    Args:
        fault: ``step`` or ``reset`` to raise there, ``hang`` or ``reset_hang`` to sleep, ``exit`` to end the process.
        probability: Of failing at each call.
        after: The call of ``step`` since the environment was made that fails for certain; 0 for none.
        seed: The slot seed of those that fail; None for all. Replacements have other seeds.
    """

    def __init__(
        self,
        fault: str,
        probability: float = 0.0,
        after: int = 0,
        seed: int | None = None,
        length: int = 4,
    ) -> None:
        super().__init__(terminate_after=length, truncate_after=length)
        self._fault, self._probability, self._after = fault, probability, after
        self._faulty_seed = seed
        self._is_faulty = seed is None
        self._num_calls = {"reset": 0, "step": 0}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        result = super().reset(seed=seed, options=options)
        if seed is not None and self._faulty_seed is not None:
            self._is_faulty = seed == self._faulty_seed
        if self._fault.startswith("reset"):
            self._maybe_fail("reset")
        return result

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        if not self._fault.startswith("reset"):
            self._maybe_fail("step")
        return super().step(action)

    def close(self) -> None:
        raise RuntimeError("cannot even be closed")

    def _maybe_fail(self, call: str) -> None:
        self._num_calls[call] += 1
        by_chance = self._probability > 0 and self.np_random.random() < self._probability
        if not self._is_faulty or not (by_chance or self._num_calls[call] == self._after):
            return
        if self._fault.endswith("hang"):
            simulate_for_ever()
        if self._fault == "exit":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError("the simulator is gone")


def simulate_for_ever() -> None:
    time.sleep(3600)


class EverySpaceEnv(gym.Env):
    """Draws its observations from its space, and refuses actions that are not in its action space.

    Args:
        kind: A key of ``EVERY_SPACE``, of observations and actions.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, kind: str) -> None:
        self.observation_space, self.action_space = EVERY_SPACE[kind], EVERY_SPACE[kind]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space = copy.deepcopy(self.observation_space)
            self.observation_space.seed(seed)
        self._step = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        if not self.action_space.contains(action):
            raise ValueError(f"action {action!r} is not in {self.action_space}")
        self._step += 1
        return self.observation_space.sample(), 1.0, self._step == 3, False, {}


def _box(dtype: Any, low: Any = 0, high: Any = 1, shape: tuple[int, ...] = (2, 3)) -> gym.spaces.Box:
    return gym.spaces.Box(low, high, shape, dtype)


EVERY_SPACE: dict[str, gym.Space] = {
    **{np.dtype(kind).name: _box(kind) for kind in (np.float16, np.float32, np.float64, np.int8, np.int16, np.int32)},
    **{np.dtype(kind).name: _box(kind) for kind in (np.int64, np.uint16, np.uint32, np.uint64)},
    "bool": _box(np.bool_),
    "image": _box(np.uint8, 0, 255, (8, 6, 3)),
    "scalar": _box(np.float32, -1, 1, ()),
    "unbounded": _box(np.float32, -np.inf, np.inf),
    "discrete": gym.spaces.Discrete(4, start=-1),
    "multi_discrete": gym.spaces.MultiDiscrete([3, 5]),
    "multi_binary": gym.spaces.MultiBinary(4),
    "dict": gym.spaces.Dict({"z": _box(np.float32), "a": gym.spaces.Discrete(3)}),
    "tuple": gym.spaces.Tuple((gym.spaces.Discrete(2), _box(np.uint8, 0, 255, (4, 4, 1)))),
    "nested": gym.spaces.Dict(
        {
            "camera": _box(np.uint8, 0, 255, (4, 4, 3)),
            "joints": gym.spaces.Tuple((_box(np.float64), gym.spaces.Dict({"on": gym.spaces.MultiBinary(2)}))),
            "level": gym.spaces.MultiDiscrete([2, 9]),
        }
    ),
}


class ProcessReportEnv(gym.Env):
    """Its observation tells whether TensorFlow is loaded, whether GPUs are visible, and the process's id."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        return self._observation(), 0.0, False, False, {}

    def _observation(self) -> np.ndarray:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == "-1"
        return np.array(["tensorflow" in sys.modules, not hidden, os.getpid()], np.float64)


class HalfWrittenEnv(gym.Env):
    """Its observation in the step ``hang_at`` takes for ever to read after its first leaf, which is the step."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, hang_at: int) -> None:
        self.observation_space = gym.spaces.Dict({"a": gym.spaces.Discrete(9), "z": _box(np.float32)})
        self.action_space = gym.spaces.Discrete(2)
        self._hang_at = hang_at

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        self._step = 0
        return {"a": 0, "z": np.zeros((2, 3), np.float32)}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self._step += 1
        image: Any = Unreadable() if self._step == self._hang_at else np.zeros((2, 3), np.float32)
        return {"a": self._step, "z": image}, 1.0, False, False, {}


class Unreadable:
    """Claims to be an array."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        simulate_for_ever()
        raise AssertionError


class ProgramEnv(ProcessReportEnv):
    """Starts a program that would run for long; its observation ends with that program's process id.

    Args:
        new_session: Whether the program leaves the group of processes of this one.
    """

    def __init__(self, new_session: bool = False) -> None:
        super().__init__()
        self._new_session = new_session

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        observation, info = super().reset(seed=seed, options=options)
        observation[2] = subprocess.Popen(["sleep", "300"], start_new_session=self._new_session).pid
        return observation, info


class BadReturnEnv(gym.Env):
    """Returns an observation that its space does not describe.

    Args:
        space: A key of ``EVERY_SPACE``.
        observation: What it returns after its first step.
        reward: Likewise.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, space: str, observation: Any = None, reward: Any = 0.0) -> None:
        self.observation_space = EVERY_SPACE[space]
        self.action_space = gym.spaces.Discrete(2)
        self._returned = observation, reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        self._bad = seed == 1
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        observation, reward = self._returned
        bad = self._bad and observation is not None
        return observation if bad else self.observation_space.sample(), reward if self._bad else 0.0, False, False, {}


class ThreeNumbersEnv(gym.Env):
    """Observations and actions of the policies that TF-Agents saved for the tests; episodes of 3 to 6 steps."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-10.0, 10.0, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._steps_left = int(self.np_random.integers(3, 7))
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._steps_left -= 1
        return self._observation(), float(action), self._steps_left == 0, False, {}

    def _observation(self) -> np.ndarray:
        return self.np_random.normal(size=3).clip(-10.0, 10.0).astype(np.float32)


class AlikePathsEnv(gym.Env):
    """Observations and actions whose leaves' keys, joined by slashes, read the same.

    Each leaf of an observation is its number; the second element is what the leaf of the last action was.
    """

    def __init__(self) -> None:
        leaves = iter(range(100))

        def space() -> gym.spaces.Dict:
            def leaf() -> gym.spaces.Box:
                number = next(leaves)
                return gym.spaces.Box(np.array([number, -1], np.float32), np.array([number, 1], np.float32))

            return gym.spaces.Dict({"arm": gym.spaces.Dict({"pos": leaf()}), "arm/pos": leaf(), "arm~1pos": leaf()})

        self.observation_space = gym.spaces.Dict({"a": space(), "b": gym.spaces.Tuple([space(), space()])})
        self.action_space = self.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        return self._observe(self.observation_space.sample(), 0.0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        return self._observe(action, None), 1.0, False, False, {}

    def _observe(self, nest: Any, second: float | None) -> Any:
        """Returns a nest like ``nest``, with its own insertion order of keys, as environments return it."""
        return _alike(self.observation_space, nest, second)


def _alike(space: gym.Space, nest: Any, second: float | None) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {key: _alike(space[key], nest[key], second) for key in reversed(list(nest))}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_alike(child, item, second) for child, item in zip(space, nest, strict=True))
    return np.array([space.low[0], nest[1] if second is None else second], np.float32)


def no_env() -> str:
    return "no env"


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
    gym.register(NEW_SAME_STEP, vector_entry_point=CountingVectorEnv)
    gym.register(NO_RESET_MODE, vector_entry_point=_no_reset_mode)
