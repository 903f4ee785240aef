"""An environment that hangs in the command's own process is named after a deadline."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.errors import EnvironmentCrashedError
from workers.environments import probe as probe_module
from workers.environments.deadline import deadline
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe

ROOT = Path(__file__).resolve().parents[3]


class Hanging(gym.Env):
    """Hangs where it is told to."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, where: str) -> None:
        self._where = where
        if where == "constructor":
            time.sleep(60.0)

    def step(self, action: Any) -> Any:
        raise AssertionError

    def close(self) -> None:
        if self._where == "close":
            time.sleep(60.0)


@pytest.mark.parametrize(("where", "told"), [("constructor", "its constructor"), ("close", "close")])
def test_a_probe_of_an_environment_that_hangs_names_it(monkeypatch: pytest.MonkeyPatch, where: str, told: str) -> None:
    monkeypatch.setattr(probe_module, "START_TIMEOUT_S", 0.3)
    monkeypatch.setattr(probe_module, "CLOSE_TIMEOUT_S", 0.3)
    factory = EnvironmentFactory("toy", "sync", {"where": where}, step_timeout_s=0.3).with_callable(Hanging)
    begin = time.monotonic()
    with pytest.raises(EnvironmentCrashedError, match=rf"Hanging hung in {told}: no answer within 0.3 s"):
        probe(factory)
    assert time.monotonic() - begin < 5.0


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
    assert done.stderr == "distpolicy: error: env toy hung in close: no answer within 0.3 s\n"


def test_nothing_is_left_behind_and_other_threads_are_let_through() -> None:
    with deadline("toy", "close", 0.2):
        pass
    thread = threading.Thread(target=lambda: deadline("toy", "close", 0.1).__enter__())
    thread.start()
    thread.join()
    time.sleep(0.4)
