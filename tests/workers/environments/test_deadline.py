"""An environment that hangs in the command's own process is named after a deadline."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.errors import EnvironmentCrashedError
from workers.environments import deadline as deadline_module
from workers.environments.deadline import deadline
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe

ROOT = Path(__file__).resolve().parents[3]


HANGING = "distpolicy-tests/Hanging-v0"
SLEEP_S = 30.0


class Hanging(gym.Env):
    """Hangs where it is told to, and makes another error of an interruption."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, where: str) -> None:
        self._where = where
        if where == "constructor":
            self._hang()

    def step(self, action: Any) -> Any:
        raise AssertionError

    def close(self) -> None:
        if self._where == "close":
            self._where = "nowhere"
            self._hang()

    def _hang(self) -> None:
        try:
            time.sleep(SLEEP_S)
        except Exception as error:
            raise OSError("interrupted") from error


class HangingVector(gym.vector.VectorEnv):
    """The vectorised form of Hanging."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs: int, where: str) -> None:
        self._env: gym.Env | None = None
        self.num_envs, self._env = num_envs, Hanging(where)
        self.single_observation_space, self.single_action_space = Hanging.observation_space, Hanging.action_space

    def step(self, actions: Any) -> Any:
        raise AssertionError

    def close_extras(self, **kwargs: Any) -> None:
        if self._env is not None:
            self._env.close()


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("START_TIMEOUT_S", "CLOSE_TIMEOUT_S"):
        monkeypatch.setattr(deadline_module, name, 0.3)
    gym.register(HANGING, entry_point=Hanging, vector_entry_point=HangingVector)
    yield
    del gym.registry[HANGING]


def make(where: str, vectorization: Any) -> EnvironmentFactory:
    return EnvironmentFactory(HANGING, vectorization, {"where": where}, step_timeout_s=0.3)


PLACES = pytest.mark.parametrize(("where", "told"), [("constructor", "its constructor"), ("close", "close")])
FORMS = pytest.mark.parametrize("vectorization", ["sync", "async", "vector_entry_point"])


@PLACES
@FORMS
def test_making_or_closing_an_environment_that_hangs_names_it(where: str, told: str, vectorization: Any) -> None:
    begin = time.monotonic()
    with pytest.raises(EnvironmentCrashedError) as caught:
        make(where, vectorization)(2).close()
    assert str(caught.value) == (
        f"env {HANGING} hung in {told}: no answer within 0.3 s; raise step_timeout_s if it needs longer"
    )
    assert time.monotonic() - begin < SLEEP_S / 2


@PLACES
def test_a_probe_of_an_environment_that_hangs_names_it(where: str, told: str) -> None:
    begin = time.monotonic()
    with pytest.raises(EnvironmentCrashedError, match=rf"Hanging-v0 hung in {told}: no answer within 0.3 s"):
        probe(make(where, "sync"))
    assert time.monotonic() - begin < SLEEP_S / 2


def test_a_longer_time_for_steps_is_time_for_constructors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Hanging.__init__.__globals__, "SLEEP_S", 0.6)
    factory = EnvironmentFactory(HANGING, "sync", {"where": "constructor"}, step_timeout_s=20.0)
    factory(1).close()


def test_code_that_cannot_be_interrupted_ends_the_process_with_one_line() -> None:
    # A lock that is never released, taken outside Python's interpreter; signals do not wake it.
    code = (
        "import ctypes, workers.environments.deadline as d\n"
        "d._GRACE_S = 0.2\n"
        "libc = ctypes.CDLL(None)\n"
        "mutex = ctypes.create_string_buffer(64)\n"
        "libc.pthread_mutex_lock(mutex)\n"
        "with d.deadline('toy', 'close', 0.3): libc.pthread_mutex_lock(mutex)\n"
    )
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == (
        "distpolicy: error: env toy hung in close: no answer within 0.3 s; raise step_timeout_s if it needs longer\n"
    )


def test_nothing_is_left_behind_and_other_threads_are_let_through() -> None:
    with deadline("toy", "close", 0.2):
        pass
    thread = threading.Thread(target=lambda: deadline("toy", "close", 0.1).__enter__())
    thread.start()
    thread.join()
    time.sleep(0.4)
