from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from counting_env import CountingEnv, FragileEnv, WiderEnv, refuse

from distpolicy.environments.parallel_py_environment import ParallelPyEnvironment, ProcessPyEnvironment
from distpolicy.environments.suite_gym import load
from distpolicy.environments.tf_py_environment import TFPyEnvironment
from distpolicy.environments.utils import validate_py_environment
from distpolicy.errors import EnvironmentCrashedError


@pytest.fixture(scope="module")
def pair() -> Iterator[ParallelPyEnvironment]:
    env = ParallelPyEnvironment([partial(CountingEnv, 2), lambda: CountingEnv(3, start=10)], start_serially=False)
    yield env
    env.close()


def test_rows_are_the_environments_steps(pair: ParallelPyEnvironment) -> None:
    assert pair.batched
    assert pair.batch_size == 2
    assert pair.action_spec() == CountingEnv().action_spec()
    assert pair.time_step_spec() == CountingEnv().time_step_spec()
    first = pair.reset()
    np.testing.assert_array_equal(first.observation, [[0], [10]])
    assert first.is_first().all()
    pair.step(np.array([1, 2], np.int32))
    step = pair.step(np.array([3, 4], np.int32))
    np.testing.assert_array_equal(step.step_type, [2, 1])
    np.testing.assert_array_equal(step.reward, np.array([3, 4], np.float32))
    np.testing.assert_array_equal(step.discount, np.array([0, 0.5], np.float32))
    np.testing.assert_array_equal(step.observation, [[2], [12]])
    # Each row begins again by itself.
    np.testing.assert_array_equal(pair.step(np.array([0, 0], np.int32)).step_type, [0, 2])
    np.testing.assert_array_equal(pair.render()[:, 0, 0, 0], [0, 3])
    with pytest.raises(ValueError, match="3 rows for 2"):
        pair.step(np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="1 seeds for 2"):
        pair.seed([1])
    with pytest.raises(NotImplementedError, match="human"):
        pair.render("human")
    validate_py_environment(pair, episodes=2)


def test_results_come_to_the_call_that_asked_for_them(pair: ParallelPyEnvironment) -> None:
    env = pair.envs[1]
    reset, get_state = env.reset(blocking=False), env.call("get_state")
    step = env.step(np.int32(2), blocking=False)
    assert callable(step)
    assert callable(reset)
    assert float(step().reward) == 2.0
    assert get_state() == 0
    assert reset().is_first()
    assert env.start == pair.envs[1].start  # The process's own methods come first.
    assert env.count == 1
    assert env.access("length") == 3
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = env.no_such_name
    assert env.count == 1


def test_a_tf_py_environment_takes_it(pair: ParallelPyEnvironment) -> None:
    env = TFPyEnvironment(pair)
    assert env.batch_size == 2
    first = env.reset()
    np.testing.assert_array_equal(first.observation, [[0], [10]])
    assert env.step(np.array([1, 1], np.int32)).observation.shape == (2, 1)


def test_what_an_environment_raises_is_told_with_its_number_and_its_traceback() -> None:
    with ParallelPyEnvironment([FragileEnv, FragileEnv], start_serially=False) as env:
        with pytest.raises(NotImplementedError, match="nothing to see"):
            env.render()
        env.reset()
        with pytest.raises(EnvironmentCrashedError, match=r"lost in a maze.*env slot 1") as caught:
            env.step(np.array([1, 4], np.int32))
        assert "_step" in caught.value.traceback
        assert "_step" in caught.value.__notes__[0]
        with pytest.raises(EnvironmentCrashedError, match=r"process has ended.*env slot 0"):
            env.step(np.array([5, 0], np.int32))
    with pytest.raises(EnvironmentCrashedError, match="not running"):
        env.reset()


@pytest.mark.slow
def test_what_cannot_be_a_batch_is_refused_and_leaves_no_process() -> None:
    with pytest.raises(TypeError, match=r"env_constructors\[0\] must be a function"):
        ParallelPyEnvironment([CountingEnv()])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="at least one"):
        ParallelPyEnvironment([])

    with pytest.raises(ValueError, match="environment 1 has another action_spec"):
        ParallelPyEnvironment([CountingEnv, WiderEnv], start_serially=False)

    with pytest.raises(EnvironmentCrashedError, match=r"OSError: no game here.*env slot 0"):
        ParallelPyEnvironment([refuse])
    children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True).stdout
    # The fixture of this module has two.
    assert children.count("process_worker") <= 2


@pytest.mark.slow
def test_a_process_is_one_environment_and_seeds_govern_it() -> None:
    env = ProcessPyEnvironment(lambda: load("CartPole-v1"))
    env.start()
    try:
        env.call("seed", 3)()
        mine = load("CartPole-v1")
        mine.seed(3)
        np.testing.assert_array_equal(env.reset().observation, mine.reset().observation)
        assert env.time_step_spec() == mine.time_step_spec()
        assert env.observation_spec() == mine.observation_spec()
        assert env.batch_size is None
    finally:
        env.close()
        env.close()


@pytest.mark.slow
def test_processes_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import os, time
        from distpolicy.environments.parallel_py_environment import ParallelPyEnvironment
        from distpolicy.environments.suite_gym import load

        # No test for __main__: a process must not run the script again.
        class Hanging:
            def __call__(self):
                env = load("CartPole-v1")
                print(os.getpid(), flush=True)
                time.sleep(600)
                return env

        ParallelPyEnvironment([Hanging()])
        """)
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        running.send_signal(signal.SIGKILL)
        running.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
