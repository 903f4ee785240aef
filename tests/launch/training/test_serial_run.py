"""A serial run: the same loop in one process, without Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import distpolicy, environment

from distpolicy.trajectories import time_step as ts
from launch.output.run_directory import RunDirectory
from launch.output.run_record import read_record
from launch.training.checkpoint_store import CheckpointStore
from launch.training.exported_policy import load_policy

OPTIONS = (
    *("--env", "CartPole-v1", "--collectors", "1", "--envs-per-collector", "8", "--rollout-steps", "16"),
    *("--total-steps", "1000", "--eval-episodes", "3", "--seed", "5"),
)


def state_of(run: Path) -> dict[str, np.ndarray]:
    return CheckpointStore(run / "checkpoints", 3).latest_to_resume().state


@pytest.mark.slow
def test_a_serial_run_learns_what_a_run_on_ray_learns_and_leaves_the_same_directory(tmp_path: Path) -> None:
    states, files = [], []
    for name, more in (("ray", ()), ("serial", ("--serial",))):
        result = distpolicy("train", *OPTIONS, *more, "--run-dir", name, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        assert ("starting Ray" in result.stdout) == (name == "ray")
        states.append(state_of(tmp_path / name))
        files.append(sorted(path.name.partition("tfevents")[0] for path in (tmp_path / name).iterdir()))
    assert files[0] == files[1]
    assert states[0].keys() == states[1].keys()
    for path, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][path], err_msg=path)


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment(), check=False)


_SCRIPT = """
import sys, ray
from distpolicy.agents.ppo.config import PPOConfig
from launch.config.train import TrainConfig
from launch.training.run import TrainingRun

config = TrainConfig(
    env="CartPole-v1", collectors=2, envs_per_collector=4, rollout_steps=8, total_steps=500, max_policy_lag=1,
    rollout_order=sys.argv[1], vectorization="sync", eval_episodes=2, agent=PPOConfig(num_minibatches=2),
)
with TrainingRun(config, run_dir=sys.argv[2], serial=True) as run:
    lags = [result.metrics["policy_lag"] for result in run]
    assert not ray.is_initialized()
assert max(lags) == 1.0, lags
print("done", len(lags))
"""


@pytest.mark.slow
def test_a_script_runs_serially_with_a_lag_in_either_order(tmp_path: Path) -> None:
    for order in ("fixed", "arrival"):
        result = run_script(_SCRIPT, order, str(tmp_path / order))
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("done")


_LEFT_OPEN = """
import sys
from launch import TrainConfig, TrainingRun

config = TrainConfig(
    env="CartPole-v1", collectors=1, envs_per_collector=4, rollout_steps=8, total_steps=10_000, vectorization="sync",
    eval_episodes=0, jit_compile=False,
)
for result in TrainingRun(config, run_dir=sys.argv[1], serial=True):
    if result.totals.updates == 3:
        break
"""


@pytest.mark.slow
def test_a_serial_run_that_a_script_leaves_open_is_interrupted_at_its_exit(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = run_script(_LEFT_OPEN, str(run))
    assert result.returncode == 0, result.stderr
    # TensorFlow says on the way that there is no GPU.
    assert "Traceback" not in result.stderr, result.stderr
    end = read_record(RunDirectory(run))["end"]
    # The next update was under way.
    assert (end["state"], end["updates"]) == ("interrupted", 4)
    assert CheckpointStore(run / "checkpoints", 3).latest_to_resume().totals.updates == 4
    assert (run / "report.html").is_file()
    time_step = ts.restart(np.zeros(4, np.float32))
    assert load_policy(run / "policy").action(time_step).action in (0, 1)


def test_an_error_in_a_serial_run_is_one_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "breaks.py").write_text(
        "from gymnasium.envs.classic_control import CartPoleEnv\n\n"
        "class Breaks(CartPoleEnv):\n"
        "    def step(self, action):\n"
        "        return super().step(action)[:4]\n"
    )
    result = distpolicy("train", *OPTIONS[2:], "--env", "breaks:Breaks", "--serial", cwd=tmp_path)
    assert result.returncode == 1
    # TensorFlow says on the way that there is no GPU.
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("distpolicy: error:"))
    assert "env slot 0" in line
    assert "4 values" in line


def test_settings_that_need_ray_are_refused(tmp_path: Path) -> None:
    for more, told in (
        (("--address", "auto"), "address is auto"),
        (("--learners", "2", "--collectors", "2"), "learners is 2"),
        (("--inference", "server"), "a serial run has no inference server: leave --inference at collectors"),
    ):
        result = distpolicy("train", "--serial", *more, cwd=tmp_path)
        assert result.returncode == 2
        assert told in result.stderr
