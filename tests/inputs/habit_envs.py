"""Small environments, each with one habit that real ones have; README.md beside this file has the table."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

S = gym.spaces


class Base(gym.Env):
    """Five steps of nothing."""

    observation_space: gym.Space = S.Box(-1, 1, (2,), np.float32)
    action_space: gym.Space = S.Discrete(2)
    length = 5

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.n = 0
        return self.observe(), {}

    def observe(self) -> Any:
        return np.full(2, self.n / 10, np.float32)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.n += 1
        return self.observe(), 1.0, self.n >= self.length, False, {}


class Observes(Base):
    """Observes what it is made with."""

    def __init__(self, space: gym.Space, value: Any) -> None:
        self.observation_space, self.value = space, value

    def observe(self) -> Any:
        return self.value


class Strays(Base):
    """Observes ``good``, and ``bad`` in its third step; without a ``bad`` it fails there."""

    def __init__(self, space: gym.Space, good: Any, bad: Any = None) -> None:
        self.observation_space, self.good, self.bad = space, good, bad

    def observe(self) -> Any:
        if self.n == 3 and self.bad is None:
            raise OSError("simulator gone")
        return self.bad if self.n == 3 else self.good


class StraysVector(gym.vector.VectorEnv):
    """A vectorised environment whose last row strays in the third step: 5 in a Discrete(5)."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = None) -> None:
        self.num_envs, self.n = num_envs, 0
        self.single_observation_space, self.single_action_space = S.Discrete(5), Base.action_space

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros(self.num_envs, np.int64), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.n += 1
        observation, no = np.zeros(self.num_envs, np.int64), np.zeros(self.num_envs, np.bool_)
        observation[-1] = 5 * (self.n == 3)
        return observation, np.ones(self.num_envs), no, no, {}


class Samples(Base):
    """Observes samples of a space, in the dtype of the space."""

    def __init__(self, observation: gym.Space = Base.observation_space, action: gym.Space = Base.action_space) -> None:
        self.observation_space, self.action_space = observation, action

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.observation_space.seed(seed)
        return super().reset(seed=seed)

    def observe(self) -> Any:
        return self.observation_space.sample()


class Pays(Base):
    """Pays what it is made with."""

    def __init__(self, reward: Any) -> None:
        self.reward = reward

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, _, *rest = super().step(action)
        return observation, self.reward, *rest


class ChangesItsAction(Base):
    """Scales its action in place, as code for one environment may."""

    action_space = S.Box(-np.inf, np.inf, (2,), np.float32)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        action *= 0.5
        action -= 7.0
        return super().step(action)


class ChangesNestedAction(ChangesItsAction):
    """Writes into the leaves of its action."""

    action_space = S.Dict({"keys": S.MultiBinary(2), "gears": S.MultiDiscrete([3, 3])})

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        for leaf in action.values():
            leaf[:] = 0
        return Base.step(self, action)


class ActionsGrow(Base):
    """Every one that is made has an action more."""

    made = 0

    def __init__(self) -> None:
        ActionsGrow.made += 1
        self.action_space = S.Discrete(1 + ActionsGrow.made)


class OneBuffer(Base):
    """All environments of the class observe in one array."""

    buffer = np.zeros(2, np.float32)

    def observe(self) -> np.ndarray:
        self.buffer[:] = self.n
        return self.buffer


class OneBufferVector(gym.vector.VectorEnv):
    """A vectorised environment that returns its own array of observations."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = None) -> None:
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = Base.observation_space, Base.action_space
        self.buffer = np.zeros((num_envs, 2), np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.buffer[:] = 0.0
        return self.buffer, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.buffer += 1.0
        no = np.zeros(self.num_envs, np.bool_)
        return self.buffer, np.ones(self.num_envs), no, no, {}


class AddsSeven(gym.ObservationWrapper):
    """A wrapper that an environment is registered with."""

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation + np.float32(7)


class EndsTwice(Base):
    """The last step terminates and truncates; flags and rewards are NumPy's."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, *_ = super().step(action)
        ended = np.array(self.n >= self.length)
        return observation, np.bool_(True), ended, np.bool_(ended), {}


class TellsOddly(Base):
    """Its info has numbers that no float holds, and names that no terminal should show."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        *rest, _ = super().step(action)
        told = {"count": 10**400, "nan": np.nan, "\x1b[2J": 1, "a\nb": 2, "": 3, 4: 4, "array": np.ones(3)}
        return *rest, {**told, "distance, left": 2.5, "is_success": True}  # type: ignore[return-value]


class Leaves(Base):
    """Leaves by ``sys.exit`` in its third step."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if self.n == 2:
            sys.exit(3)
        return super().step(action)


class OldGenerator(Base):
    """Draws by NumPy's old generator, whose seeds have 32 bits, and makes NumPy raise on overflow."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.random = np.random.RandomState(seed)
        np.seterr(all="raise")
        return super().reset(seed=seed)

    def observe(self) -> np.ndarray:
        return self.random.uniform(-1, 1, 2).astype(np.float32)


class Deep(Base):
    """Spaces in spaces in spaces; it does not take an action that is not in its space."""

    observation_space = S.Dict(
        {
            "b": S.Dict(
                {
                    "t": S.Tuple(
                        (
                            S.Discrete(3, start=5),
                            S.Box(-1, 1, (), np.float64),
                            S.Dict({"m": S.MultiBinary((2, 2)), "wide": S.Box(-np.inf, np.inf, (2,), np.int64)}),
                        )
                    )
                }
            ),
            "a": S.Box(0, 1, (2,), np.float16),
        }
    )
    action_space = S.Dict(
        {
            "x": S.Tuple((S.MultiBinary(3), S.MultiDiscrete([[2, 3], [4, 5]]), S.Discrete(2, start=-1))),
            "f": S.Box(-np.inf, 3, (), np.float64),
        }
    )

    def observe(self) -> Any:
        wide = np.array([2**62, -3], np.int64)
        inner = (np.int64(5), np.float64(0.25), {"m": np.ones((2, 2), np.int8), "wide": wide})
        return {"a": np.zeros(2, np.float16), "b": {"t": inner}}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        box = self.action_space["f"]
        assert np.asarray(action["f"]).dtype == box.dtype
        assert action["f"] <= box.high
        assert self.action_space["x"].contains(action["x"]), action
        return super().step(action)


class Prints(Base):
    """Prints in every step, and takes a nest of arguments."""

    def __init__(self, goal: Any = None) -> None:
        self.goal = goal

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        print("step", self.n)
        *rest, _ = super().step(action)
        return *rest, {"goals": len(self.goal["a"]["b"]) if self.goal else 0}  # type: ignore[return-value]


class FailsInColour(Base):
    """Its error clears the terminal."""

    def __init__(self) -> None:
        raise OSError("\x1b[2Jsimulator\x07 gone")


class Panic(BaseException):
    """An error that is not an ``Exception``, as those of environments in Rust."""


class TellsNothing(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Fails(Base):
    """Raises an error in a call: in the constructor, in ``reset``, in the third step, or in ``close``."""

    def __init__(self, call: str, error: BaseException) -> None:
        self.call, self.error = call, error
        self.maybe_fail("constructor")

    def maybe_fail(self, call: str) -> None:
        if self.call == call:
            raise self.error

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        self.maybe_fail("reset")
        return super().reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if self.n == 2:
            self.maybe_fail("step")
        return super().step(action)

    def close(self) -> None:
        self.maybe_fail("close")


class EndsItsProcess(Fails):
    """Ends its process in a call, without a word: by ``os._exit``, or by a crash of code in C."""

    def __init__(self, call: str, crashes: bool = False) -> None:
        self.crashes = crashes
        super().__init__(call, OSError())

    def maybe_fail(self, call: str) -> None:
        if self.call == call:
            if self.crashes:
                ctypes.string_at(0)
            os._exit(0)


class LeavesInClose(Base):
    """Leaves its process when it is closed, as games do: ``pygame.quit(); sys.exit()``."""

    def close(self) -> None:
        sys.exit(0)


class TakesSignals(Base):
    """Takes the signals that end a command, as clients of some simulators do."""

    def __init__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        time.sleep(0.05)
        return super().step(action)


class KeepsAThread(Base):
    """Has a thread that goes on for ever."""

    def __init__(self) -> None:
        threading.Thread(target=time.sleep, args=(10_000.0,), name="simulator").start()


class StartsPrograms(Base):
    """Starts two programs, one by ``multiprocessing``, which Python waits for, and ends neither."""

    def __init__(self) -> None:
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(10_000.0,)).start()
        self.program = subprocess.Popen(["sleep", "4321"], start_new_session=True)


class TakesOutput(Base):
    """Lets what is printed go nowhere."""

    def __init__(self) -> None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # as long as the process


class OneMoreVector(gym.vector.VectorEnv):
    """A vectorised environment with one environment more than was asked for."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = None) -> None:
        self.num_envs = num_envs + 1
        self.single_observation_space, self.single_action_space = Base.observation_space, Base.action_space


class FixedJoint(Base):
    """Episodes of one step, the same reward every time, and an element of the action that cannot move."""

    action_space = S.Dict(
        {"joints": S.Box(np.array([0.0, -1.0], np.float32), np.array([0.0, 1.0], np.float32)), "mode": S.Discrete(1)}
    )
    length = 1

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert action["joints"][0] == 0.0
        return super().step(action)


class NeedsArguments(Base):
    """Cannot be made without arguments."""

    def __init__(self, size: int) -> None:
        self.size = size


class ResetsSameStep(gym.vector.VectorEnv):
    """A vectorised form that resets in the step that ends an episode."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = None) -> None:
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = Base.observation_space, Base.action_space


class ResetsDisabled(ResetsSameStep):
    """One that never resets by itself."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.DISABLED}


class ResetsNextStep(ResetsSameStep):
    """One that resets in the next step."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}


class Views(Base):
    """Observes views of one buffer: reversed, with gaps, read-only, with its axes moved."""

    observation_space = S.Dict({"last": S.Box(-np.inf, np.inf, (3,)), "image": S.Box(0, 255, (4, 4, 3), np.uint8)})

    def __init__(self) -> None:
        self.history, self.frames = np.zeros(10, np.float32), np.zeros((3, 8, 8), np.uint8)

    def observe(self) -> Any:
        self.history[:] = np.arange(10) + self.n
        self.frames[:] = self.n
        last = self.history[::-3][:3]
        last.flags.writeable = False
        return {"image": np.moveaxis(self.frames[:, ::2, ::2], 0, -1), "last": last}


class _Tensor:
    """What other libraries return: not an array, but it can be read as one."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.array, dtype)


class ReadsLikeAnArray(Base):
    """Observes a tensor of another library."""

    def observe(self) -> Any:
        return _Tensor(super().observe())


class OtherOrder(Base):
    """Returns the keys of its observation in another order every time, and one more."""

    observation_space = S.Dict({"low": S.Box(0, 1, (1,)), "high": S.Box(4, 5, (1,))})

    def observe(self) -> Any:
        found = {"high": np.full(1, 5, np.float32), "low": np.zeros(1, np.float32), "more": "text"}
        return found if self.n % 2 else dict(reversed(found.items()))


class _Pair(NamedTuple):
    place: np.ndarray
    kind: int


class NamedPair(Base):
    """Observes a named tuple, or a list, where its space is a Tuple."""

    observation_space = S.Tuple((S.Box(-1, 1, (1,)), S.Discrete(3)))

    def observe(self) -> Any:
        pair = _Pair(np.zeros(1, np.float32), 2)
        return pair if self.n % 2 else list(pair)


class Strict(Base):
    """Is not stepped before a reset, or after the end of an episode."""

    is_live = False

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        self.is_live = True
        return super().reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert self.is_live
        result = super().step(action)
        self.is_live = not result[2]
        return result


class TellsNow(Base):
    """The names in its info change from step to step."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        *rest, _ = super().step(action)
        numbers = {"one": np.array([2.5]), "count": np.int32(4), "won": np.bool_(True)}
        others = {"map": np.ones((2, 2)), "nothing": None, "name": "x", "nested": {"a": 1}, "raw": b"x"}
        return *rest, {f"step {self.n}": np.int64(self.n), **numbers, **others}  # type: ignore[return-value]


class TellsNone(Base):
    """Returns None as its info."""

    def reset(self, **kwargs: Any) -> Any:
        return super().reset(**kwargs)[0], None

    def step(self, action: Any) -> Any:
        return *super().step(action)[:4], None


class SeedsGlobals(Base):
    """Seeds NumPy's and Python's global generators in every call, and draws from them."""

    def observe(self) -> np.ndarray:
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        return np.random.uniform(-1, 1, 2).astype(np.float32)  # noqa: NPY002


class ChecksItsAction(Observes):
    """Takes no action that its space does not hold."""

    def __init__(self, space: gym.Space, value: Any, action: gym.Space) -> None:
        super().__init__(space, value)
        self.action_space = action

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert self.action_space.contains(action), action
        return super().step(action)


class ChangesItsArguments(Base):
    """Takes its settings out of the dict that it is given, as configs of some libraries are read."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.length = config.pop("length", 50)
        config["rewards"].append(1.0)
        self.pay = sum(config["rewards"])

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, _, *rest = super().step(action)
        return observation, self.pay, *rest


class ChangesItsArgumentsToo(gym.RewardWrapper):
    """A wrapper that does the same."""

    def __init__(self, env: gym.Env, scales: list[float]) -> None:
        super().__init__(env)
        scales.append(2.0)
        self.scale = sum(scales)

    def reward(self, reward: Any) -> float:
        return reward * self.scale


class EndsNever(gym.vector.VectorEnv):
    """A vectorised form that has no end of its own."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}
    limit: int | None = None

    def __init__(self, num_envs: int = 1) -> None:
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = Base.observation_space, Base.action_space
        self.n = np.zeros(num_envs, np.int64)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.n[:] = 0
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        return np.repeat(self.n[:, None] / 10, 2, axis=1).astype(np.float32)

    def ended(self) -> np.ndarray:
        return np.full(self.num_envs, False) if self.limit is None else self.n >= self.limit

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.n = np.where(self.ended(), 0, self.n + 1)
        return self.observe(), np.where(self.n == 0, 0.0, 1.0), self.ended(), np.full(self.num_envs, False), {}


class ChangesItsArgumentsVector(EndsNever):
    """A vectorised form that takes its settings out of a dict."""

    def __init__(self, num_envs: int = 1, config: Any = None) -> None:
        super().__init__(num_envs)
        self.limit = config.pop("length", 50)


class LeavesItsReward(EndsNever):
    """Rewards, in the step that resets, what the episode's last step did."""

    limit = 3
    resets_with = 1.0

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, *rest = super().step(actions)
        return observation, np.where(self.n == 0, self.resets_with, reward), *rest


class ResetsWithNaN(LeavesItsReward):
    """Its reward in the step that resets is not a number."""

    resets_with = np.nan


class StaysEnded(EndsNever):
    """Its flags stay True in the step that resets."""

    limit = 3

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, ended, *rest = super().step(actions)
        return observation, reward, ended | (self.n == 0), *rest


class SpacesLater(Base):
    """Knows its spaces after its first reset only."""

    observation_space = None  # type: ignore[assignment]


class OtherSpaceLater(Base):
    """Observes in a larger space from its second episode on."""

    episodes = 0

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        self.episodes += 1
        self.observation_space = S.Box(-1, 1, (1 + self.episodes,), np.float32)
        return super().reset(**kwargs)

    def observe(self) -> Any:
        return np.zeros(1 + self.episodes, np.float32)


class KeepsItsAction(Base):
    """Observes the action before."""

    action_space = S.Box(-1, 1, (2,), np.float32)
    length = 9

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        self.last = np.zeros(2, np.float32)
        return super().reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        before, self.last = self.last, action
        _, *rest = super().step(action)
        return before, *rest


class SetsTimeout(Base):
    """Lets all sockets give up soon, as downloaders do, and takes longer than that."""

    def __init__(self) -> None:
        socket.setdefaulttimeout(0.01)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        time.sleep(0.05)
        return super().step(action)


class EndsLater(Base):
    """With seed 0, its process ends a moment after its first step. With seed 1, a step takes longer than that."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.seed = seed
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if self.seed == 0:
            threading.Timer(0.1, os._exit, (0,)).start()
        time.sleep(0.5 * (self.seed == 1))
        return super().step(action)


class NamesAFile(Base):
    """Its error names a file whose name is not in UTF-8."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        raise OSError(f"cannot open {os.fsdecode(b'map' + bytes([255]))}")
