"""A slot whose environment fails is replaced alone; in this process and in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environment_streams import FIRST, LAST, MID, Stream, assert_is_stream, stream
from toy_envs import EPISODE, SEED, STEP

from distpolicy.errors import ConfigError, EnvironmentCrashedError
from workers.environments.factory import EnvironmentFactory
from workers.environments.fault_log import FaultLog
from workers.environments.processes.environment import ProcessEnvironment
from workers.restart_budget import RestartBudgetConfig

SEEDS = (10, 11, 12)
ROW = 1
QUICK = RestartBudgetConfig(max_restarts=5, backoff_s=0.0)
MODES = ["sync", "async"]
ACTION = np.zeros(3, np.int64)


def faulty(mode: str, rebuilds: RestartBudgetConfig = QUICK, timeout_s: float = 60.0, **kwargs: Any) -> Any:
    return EnvironmentFactory(
        "toy_envs:FaultyEnv",
        mode,
        kwargs,
        restarts=rebuilds,
        step_timeout_s=timeout_s,  # type: ignore[arg-type]
    )(3)


def assert_others_keep_their_data(found: Stream, **kwargs: Any) -> None:
    faultless = stream(faulty("sync", fault="none", **kwargs), len(found.reward), SEEDS, ACTION)
    for row in (0, 2):
        for name in ("step_type", "reward", "discount", "observation"):
            np.testing.assert_array_equal(getattr(found, name)[:, row], getattr(faultless, name)[:, row])
    assert not found.cuts[:, [0, 2]].any()


@pytest.mark.parametrize("mode", MODES)
def test_a_raising_step_cuts_its_slot_alone_with_the_last_good_observation(mode: str) -> None:
    environment = faulty(mode, fault="step", after=3, seed=SEEDS[ROW])
    found = stream(environment, 12, SEEDS, ACTION)
    assert_is_stream(found)
    assert_others_keep_their_data(found)
    assert found.step_type[:5, ROW].tolist() == [FIRST, MID, MID, LAST, FIRST]
    assert np.flatnonzero(found.cuts[:, ROW]).tolist() == [3]
    np.testing.assert_array_equal(found.observation[3, ROW], found.observation[2, ROW])
    assert (found.reward[3, ROW], found.discount[3, ROW]) == (0, 1)
    assert found.observation[4, ROW, [EPISODE, STEP]].tolist() == [0, 0]
    assert found.observation[4, ROW, SEED] not in SEEDS
    assert environment.num_restarts == 1
    (fault,) = environment.faults
    assert fault[:4] == (ROW, 2, "step", "raised OSError in step: the simulator is gone")
    assert "in _maybe_fail" in fault.traceback


@pytest.mark.parametrize("mode", MODES)
def test_a_raising_reset_cuts_no_episode_and_begins_in_a_new_env(mode: str) -> None:
    environment = faulty(mode, fault="reset", after=2, seed=SEEDS[ROW])
    found = stream(environment, 16, SEEDS, ACTION)
    assert_is_stream(found)
    assert_others_keep_their_data(found)
    assert not found.cuts.any()
    begin = np.flatnonzero(found.step_type[:, ROW] == FIRST)[1]
    assert found.observation[begin, ROW, SEED] not in SEEDS
    assert [fault[:3] for fault in environment.faults] == [(ROW, begin - 1, "reset")]


@pytest.mark.parametrize("mode", MODES)
def test_an_environment_that_raises_in_its_first_reset_is_replaced(mode: str) -> None:
    environment = faulty(mode, fault="reset", after=1, seed=SEEDS[ROW])
    found = stream(environment, 5, SEEDS, ACTION)
    assert_is_stream(found)
    assert_others_keep_their_data(found)
    assert environment.num_restarts == 1


def test_crashes_by_chance_give_the_same_stream_twice_and_in_both_modes() -> None:
    generous = RestartBudgetConfig(max_restarts=1000, backoff_s=0.0)
    found = []
    for mode in ("sync", "sync", "async"):
        environment = faulty(mode, generous, fault="step", probability=0.1)
        found.append(stream(environment, 80, SEEDS, ACTION))
        assert environment.num_restarts >= found[-1].cuts.sum() > 10
        assert_is_stream(found[-1])
    for other in found[1:]:
        for left, right in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["step", "reset"])
def test_a_slot_that_fails_for_ever_uses_up_its_budget(mode: str, fault: str) -> None:
    budget = RestartBudgetConfig(max_restarts=3, backoff_s=0.0)
    environment = faulty(mode, budget, fault=fault, after=1)
    with pytest.raises(EnvironmentCrashedError, match=r"replaced 3 times within 10,000 steps") as caught:
        stream(environment, 50, SEEDS, ACTION)
    error = caught.value
    assert error.slot in range(3)
    assert error.seed == SEEDS[error.slot]
    assert error.step == (6 if fault == "step" else 0)
    assert "raised OSError" in str(error)
    assert "in _maybe_fail" in error.traceback
    assert environment.num_restarts >= 3


def test_an_old_failure_no_longer_counts_against_the_budget() -> None:
    config = RestartBudgetConfig(max_restarts=1, window_steps=10, backoff_s=0.0)
    faults: list[Any] = []
    log = FaultLog("env", 1, config, faults)
    log.begin([3])
    for _ in range(3):
        log.record(0, "step", "failed", "")
        for _ in range(10):
            log.count_step()
    log.record(0, "step", "failed", "")
    log.count_step()
    with pytest.raises(EnvironmentCrashedError):
        log.record(0, "step", "failed", "")
    assert [fault.step for fault in faults] == [0, 10, 20, 30]


def test_each_replacement_has_another_seed_and_waits_longer() -> None:
    log = FaultLog("env", 1, RestartBudgetConfig(backoff_s=0.02, max_backoff_s=0.05), [])
    log.begin([3])
    seeds, waits = [], []
    for _ in range(4):
        start = time.perf_counter()
        log.record(0, "step", "failed", "")
        seeds.append(log.restart_seed(0))
        log.back_off(0)
        waits.append(time.perf_counter() - start)
    assert len(set(seeds)) == 4
    for wait, least in zip(waits, [0.02, 0.04, 0.05, 0.05], strict=True):
        assert wait >= least


@pytest.mark.parametrize(
    "settings", [{"max_restarts": -1}, {"window_steps": 0}, {"backoff_s": -1.0}, {"max_backoff_s": -1.0}]
)
def test_a_budget_that_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        RestartBudgetConfig(**settings)


@pytest.mark.parametrize(("fault", "call"), [("hang", "step"), ("reset_hang", "reset")])
def test_a_hanging_slot_is_replaced_and_its_stack_shown(fault: str, call: str) -> None:
    environment = faulty("async", timeout_s=1.0, fault=fault, after=2, seed=SEEDS[ROW])
    found = stream(environment, 16, SEEDS, ACTION)
    assert_is_stream(found)
    assert_others_keep_their_data(found)
    assert found.cuts.sum() == (call == "step")
    (noted,) = environment.faults
    assert (noted.slot, noted.call) == (ROW, call)
    assert noted.error == f"hung in {call}: no answer within 1 s (step_timeout_s)"
    assert "in simulate_for_ever" in noted.traceback
    assert f"in {call}" in noted.traceback


def test_an_env_that_ends_its_process_is_replaced() -> None:
    environment = faulty("async", fault="exit", after=2, seed=SEEDS[ROW])
    found = stream(environment, 10, SEEDS, ACTION)
    assert_is_stream(found)
    assert_others_keep_their_data(found)
    assert np.flatnonzero(found.cuts[:, ROW]).tolist() == [2]
    assert environment.faults[0].error == "ended its process in step"


def test_an_observation_that_was_half_written_when_its_process_ended_is_not_seen() -> None:
    slots = EnvironmentFactory("toy_envs:HalfWrittenEnv", "async", {"hang_at": 3}, restarts=QUICK, step_timeout_s=1.0)
    found = stream(slots(1), 5, [0], np.zeros(1, np.int64))
    assert found.observation["a"][:, 0].tolist() == [0, 1, 2, 2, 0]
    assert found.cuts[:, 0].tolist() == [False, False, False, True, False]


def process_reports() -> ProcessEnvironment:
    environment = EnvironmentFactory("toy_envs:ProcessReportEnv", "async", restarts=QUICK)(2)
    assert isinstance(environment, ProcessEnvironment)
    return environment


def alive(pid: int) -> bool:
    """Whether there is such a process, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def running(pid: int) -> bool:
    """Whether there is such a process, and no zombie: whoever inherits an orphan may leave it as one."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_killed_process_is_replaced_by_another() -> None:
    environment = process_reports()
    try:
        before = environment.reset([0, 1]).observation[:, 2].astype(int)
        os.kill(before[1], signal.SIGKILL)
        assert environment.step(np.zeros(2, np.int64)).step_type.tolist() == [MID, LAST]
        assert environment.cuts.tolist() == [False, True]
        time_step = environment.step(np.zeros(2, np.int64))
        assert time_step.step_type.tolist() == [MID, FIRST]
        after = time_step.observation[:, 2].astype(int)
        assert after[0] == before[0]
        assert after[1] != before[1]
        assert not environment.cuts.any()
        assert not alive(before[1])
    finally:
        environment.close()


def test_slot_processes_load_no_tensorflow_and_see_no_gpu_and_end_with_close() -> None:
    environment = process_reports()
    reports = environment.reset([0, 1]).observation
    environment.close()
    environment.close()
    assert reports[:, :2].tolist() == [[0, 0], [0, 0]]
    pids = reports[:, 2].astype(int)
    assert len({os.getpid(), *pids}) == 3
    assert not any(alive(pid) for pid in pids)


def test_a_fork_server_that_was_killed_is_started_again() -> None:
    environment = process_reports()
    try:
        before = environment.reset([0, 1]).observation[:, 2].astype(int)
        process = environment._fork_server._process
        assert process is not None
        process.kill()
        process.wait()
        deadline = time.monotonic() + 5
        while any(alive(pid) for pid in before) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert environment.step(np.zeros(2, np.int64)).step_type.tolist() == [LAST, LAST]
        assert environment.step(np.zeros(2, np.int64)).step_type.tolist() == [FIRST, FIRST]
    finally:
        environment.close()


def test_ending_a_process_that_is_gone_signals_no_other_and_leaves_no_file_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = process_reports()
    sent = []
    try:
        (pid, _) = environment.reset([0, 1]).observation[:, 2].astype(int).tolist()
        os.kill(pid, signal.SIGKILL)
        while alive(pid):
            time.sleep(0.01)
        # By now, another process may have this id.
        monkeypatch.setattr(os, "kill", lambda *arguments: sent.append(arguments))
        num_files = len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            environment.step(np.zeros(2, np.int64))
        assert len(environment.faults) == 1
        assert len(os.listdir("/proc/self/fd")) == num_files
    finally:
        monkeypatch.undo()
        environment.close()
    assert not sent


@pytest.mark.parametrize("env", ["ProcessReportEnv", "ProgramEnv"])
def test_neither_slots_nor_their_programs_outlive_a_parent_that_was_killed(env: str) -> None:
    script = (
        "import sys, time, numpy as np\n"
        "from workers.environments.factory import EnvironmentFactory\n"
        f"environment = EnvironmentFactory('toy_envs:{env}', 'async')(2)\n"
        "print(*environment.reset([0, 1]).observation[:, 2].astype(int), flush=True)\n"
        "time.sleep(100)\n"
    )
    here = Path(__file__).resolve().parents[1]
    paths = {"PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here}"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, **paths}
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    assert all(alive(pid) for pid in pids)
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while any(running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(running(pid) for pid in pids)


def test_a_slot_that_hangs_does_not_keep_close_waiting_for_ever() -> None:
    environment = faulty("async", fault="hang", after=1, seed=SEEDS[ROW])
    environment.reset(SEEDS)
    environment._send(ROW, b"S", -1, 60.0)
    time.sleep(0.2)
    start = time.monotonic()
    environment.close()
    assert time.monotonic() - start < 10


class Raising(gym.Env):
    """Raises in its fourth step."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, error: type[BaseException]) -> None:
        self._error, self._num_steps = error, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self._num_steps += 1
        if self._num_steps == 4:
            if self._error is SystemExit:
                sys.exit(3)
            raise self._error
        return np.zeros(2, np.float32), 1.0, False, False, {}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_or_exit_that_an_environment_raises_is_a_failure_like_others(mode: Any, error: Any) -> None:
    environment = EnvironmentFactory("toy", mode, {"error": error}, restarts=QUICK).with_callable(Raising)(3)
    found = stream(environment, 6, SEEDS, ACTION)
    assert np.flatnonzero(found.cuts.any(axis=1)).tolist() == [4]
    assert {fault.error.partition(":")[0] for fault in environment.faults} == {f"raised {error.__name__} in step"}


def test_an_interrupt_of_this_process_is_not_a_failure_of_an_environment() -> None:
    class Slow(Raising):
        def step(self, action: Any) -> Any:
            deadline = time.monotonic() + 30.0
            while time.monotonic() < deadline:
                pass

    environment = EnvironmentFactory("toy", "sync", {"error": OSError}, restarts=QUICK).with_callable(Slow)(1)
    environment.reset([1])
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            environment.step(np.zeros(1, np.int64))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not environment.faults
