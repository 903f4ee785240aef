"""Off-policy agents learn through Ray, on fixed seeds."""

from __future__ import annotations

import functools
import operator
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import checkpoints, distpolicy, environment, newest_checkpoint, read_evaluations, read_metrics
from replay_checks import check_replay

from launch.commands.train import parse_train
from launch.training.checkpoint_store import CheckpointStore


def train(folder: Path, *options: str) -> str:
    result = distpolicy("train", "--run-dir", "run", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_cartpole_is_learned_by_dqn(tmp_path: Path) -> None:
    output = train(tmp_path, "--agent", "dqn", "--seed", "1", "--eval-episodes", "20")
    assert "solved: mean return" in output
    assert "in an evaluation (target 475)" in output
    assert (tmp_path / "run" / "best_policy").is_dir()
    assert not (tmp_path / "run" / "collect_policy").exists(), "it only adds noise"
    evaluations = read_evaluations(tmp_path / "run")
    last = [(row["update"], row["return_mean"]) for row in evaluations[-2:]]
    assert last[0] == last[1], "the last policy is the one that has reached the target"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [("--max-policy-lag", "2"), ("--max-policy-lag", "1", "--rollout-order", "arrival")]
)
def test_no_update_is_made_beyond_the_evaluation_that_ends_a_run(options: tuple[str, ...], tmp_path: Path) -> None:
    few = ("--total-steps", "20000", "--eval-every", "10", "--eval-episodes", "5", "--target-return", "5")
    train(tmp_path, "--agent", "dqn", "--seed", "1", *few, *options)
    assert [row["update"] for row in read_evaluations(tmp_path / "run")] == ["10", "10"]
    assert len(read_metrics(tmp_path / "run")) == 10


TO_100 = ("--c51.min-q-value", "0", "--c51.max-q-value", "100")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "least"),
    [
        # Chance is about 20.
        pytest.param(("--agent", "c51", *TO_100, "--total-steps", "30000"), 100.0, id="c51"),
        pytest.param(("--agent", "sac", "--sac.learning-starts", "500", "--serial"), 1.0, id="discrete-sac"),
        pytest.param(
            ("--agent", "ddpg", "--env", "Pendulum-v1", "--ddpg.learning-starts", "500", "--serial"), -1900.0, id="ddpg"
        ),
    ],
)
def test_an_agent_is_trained_by_its_name_and_its_policy_loads(
    options: tuple[str, ...], least: float, tmp_path: Path
) -> None:
    train(tmp_path, "--seed", "1", "--total-steps", "2000", "--eval-episodes", "5", *options)
    # Not each update owes a call.
    losses = [float(row["loss"]) for row in read_metrics(tmp_path / "run") if row["loss"]]
    assert losses
    assert np.isfinite(losses).all()
    result = distpolicy("evaluate", "run", "--episodes", "20", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (mean,) = re.findall(r"mean return (-?[\d,.]+)", result.stdout)
    assert float(mean.replace(",", "")) > least


@pytest.mark.parametrize("where", [("--serial",), pytest.param((), marks=pytest.mark.slow, id="on Ray")])
def test_a_replay_buffer_that_does_not_fit_ends_the_command_with_one_line(
    where: tuple[str, ...], tmp_path: Path
) -> None:
    options = ("--agent", "dqn", "--dqn.replay-capacity", "1e12", *where)
    result = distpolicy("train", *options, "--run-dir", "run", cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    # TensorFlow says on the way that there is no GPU.
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("distpolicy: error:"))
    assert "a replay buffer of 1000000000000 steps takes" in line
    assert "set replay_capacity to" in line
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.slow
def test_cartpole_is_learned_by_dqn_from_older_data(tmp_path: Path) -> None:
    assert "solved: mean return" in train(tmp_path, "--agent", "dqn", "--seed", "1", "--max-policy-lag", "2")


@pytest.mark.slow
def test_a_run_whose_driver_was_killed_goes_on_with_its_replay_buffer(tmp_path: Path) -> None:
    # Nothing is written over in so large a buffer.
    large = ("--dqn.replay-capacity", "100000")
    options = ("--agent", "dqn", "--target-return", "None", "--eval-every", "None", "--checkpoint-every", "10", *large)
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "launch", "train", *options, "--total-steps", "100000", "--run-dir", str(run)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300.0
        while not any(int(folder.name.partition("-")[0]) >= 30 for folder in checkpoints(run)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    newest = newest_checkpoint(run)
    segments = sorted(newest.glob("segment-*.npz"))
    assert segments
    assert max(os.stat(path).st_nlink for path in segments) > 1, "checkpoints share what does not change"
    updates = int(newest.name.partition("-")[0])
    total = str(128 * (updates + 30))
    result = distpolicy("train", "--resume", "run", "--total-steps", total, "--eval-episodes", "5", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = read_metrics(run)
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > updates
    sizes = np.array([float(row["replay_size"]) for row in rows])
    assert sizes[updates] > sizes[updates - 1], "the rows from before are there"
    assert rows[updates + 1]["loss"], "it learns at once"
    found = CheckpointStore(run / "checkpoints", 3).latest_to_resume()
    state = functools.reduce(operator.or_, found.segments(), found.state)
    check_replay(state, found.totals.env_steps, parse_train(options).config)
