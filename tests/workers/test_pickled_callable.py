"""Environment classes and functions that travel to workers as bytes."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.errors import ConfigError
from workers.environments.factory import EnvironmentFactory
from workers.pickled_callable import PickledCallable

LENGTH = 3


class OwnEnv(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int = LENGTH) -> None:
        self.length, self.count = length, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.ones(2, np.float32), 1.0, self.count == self.length, False, {}


def own_env(length: int = LENGTH) -> gym.Env:
    return OwnEnv(length)


@pytest.mark.parametrize("make", [OwnEnv, own_env])
@pytest.mark.parametrize("vectorization", ["auto", "sync", "async"])
def test_a_class_or_function_makes_the_slots(make: Any, vectorization: Any) -> None:
    factory = EnvironmentFactory("CartPole-v1", vectorization, {"length": 2}).with_callable(make)
    assert factory.env_id == f"{__name__}:{make.__name__}"
    environment = factory(2)
    try:
        steps = [environment.reset([1, 2]), *(environment.step(np.zeros(2, np.int64)) for _ in range(2))]
    finally:
        environment.close()
    assert [step.step_type.tolist() for step in steps] == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("make", [OwnEnv, own_env, lambda: OwnEnv(2)])
def test_a_process_that_cannot_import_the_module_makes_the_env(make: Any, tmp_path: Path) -> None:
    (tmp_path / "factory").write_bytes(pickle.dumps(EnvironmentFactory("CartPole-v1").with_callable(make)))
    code = (
        "import pickle, sys\n"
        f"env = pickle.load(open({str(tmp_path / 'factory')!r}, 'rb')).make_single()\n"
        f"print(type(env).__name__, {__name__!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["OwnEnv", "False"], done.stderr


def test_a_class_of_an_installed_package_travels_by_its_name() -> None:
    from gymnasium.envs.classic_control import CartPoleEnv

    pickled = PickledCallable.of(CartPoleEnv, "env", "a gymnasium.Env")
    assert pickled.load() is CartPoleEnv
    assert len(pickled.data) < 200


@pytest.mark.parametrize(
    ("make", "told"),
    [
        ("CartPole-v1", "env must be a class or function"),
        (None, "env must be"),
        (functools.partial(OwnEnv, threading.Lock()), "cannot be sent to workers: TypeError"),
    ],
)
def test_what_cannot_travel_is_refused(make: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        EnvironmentFactory("CartPole-v1").with_callable(make)


def test_the_name_of_a_class_in_a_script_says_how_to_give_it() -> None:
    with pytest.raises(ConfigError, match=r"env __main__:MyEnv was defined in a script: .*env=MyEnv"):
        EnvironmentFactory("__main__:MyEnv")(1)


def test_envpool_has_no_env_of_the_caller() -> None:
    with pytest.raises(ConfigError, match="EnvPool has no env"):
        EnvironmentFactory("CartPole-v1", "envpool").with_callable(OwnEnv)(1)
