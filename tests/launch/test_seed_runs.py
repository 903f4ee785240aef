"""``distpolicy train --seeds``: one folder, a run for each seed, one report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import QUICK, distpolicy, environment, our_processes, read_metrics
from ray_head import RAY, ray_head

from launch.output.own_process import module_command
from launch.reports.run_data import read_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_process_left")]

RUN = ("--serial", *QUICK, "--no-jit-compile", "--target-return", "None", "--eval-episodes", "2")


def test_seeds_are_trained_reported_and_kept(tmp_path: Path) -> None:
    options = ("--seeds", "2", "--seeds-at-once", "2", "--seed", "5", "--run-dir", "runs", "--total-steps", "320")
    options += ("--preset", "ppo")
    result = distpolicy("train", *RUN, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    folder = tmp_path / "runs"
    assert json.loads((folder / "seeds.json").read_text())["seeds"] == [5, 6]
    runs = [read_run(folder / f"seed-{seed}") for seed in (5, 6)]
    assert [(run.seed, run.state, int(run.steps[-1]) >= 320) for run in runs] == [
        (5, "ended", True),
        (6, "ended", True),
    ]
    assert [run.record["preset"] for run in runs] == ["ppo", "ppo"], "and not the environment's own"
    assert "ppo (2 runs)" in (folder / "report.html").read_text()
    assert (folder / "report.png").is_file()
    lines = result.stdout.splitlines()
    assert any(line.startswith("seed 5: evaluation of the greedy policy") for line in lines)
    assert [line.split()[0] for line in lines[-3:]] == ["run", "seed-5", "seed-6"]

    # One is as if it had not been begun; the other one stays.
    before = (folder / "seed-6" / "metrics.csv").read_bytes()
    shutil.rmtree(folder / "seed-5")
    again = distpolicy("train", "--resume", "runs", "--serial", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "seed 6 is done" in again.stdout
    assert (folder / "seed-6" / "metrics.csv").read_bytes() == before
    assert read_run(folder / "seed-5").record["preset"] == "ppo"
    learned = [row["loss"] for row in read_metrics(folder / "seed-5")]
    assert learned == [f"{value:.6g}" for value in runs[0].column("loss")], "the same settings and the same seed"


def test_seeds_share_a_cluster_and_leave_nothing_on_it(tmp_path: Path) -> None:
    options = ("--seeds", "2", "--seeds-at-once", "2", "--run-dir", "runs", "--total-steps", "3200")
    options += ("--collectors", "1")
    with ray_head(tmp_path, "--num-cpus", "4") as head:
        environment = {"RAY_AUTH_MODE": "token", **head.environment()}
        command = ("train", *RUN[1:], *options, "--address", head.address)
        result = distpolicy(*command, cwd=tmp_path, **environment)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "starting Ray" not in result.stdout
        listed = subprocess.run(
            [str(RAY), "list", "actors", "--address", head.dashboard, "--format", "json", "--detail"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
    actors = json.loads(listed.stdout)
    # The same names: each run has a namespace of its own.
    assert sorted(actor["name"] for actor in actors) == ["collector-0", "collector-0", "learner", "learner"]
    assert len({actor["ray_namespace"] for actor in actors}) == 2
    assert {actor["state"] for actor in actors} == {"DEAD"}
    runs = [read_run(tmp_path / "runs" / f"seed-{seed}") for seed in (0, 1)]
    assert [run.state for run in runs] == ["ended"] * 2
    assert runs[0].column("loss")[-1] != runs[1].column("loss")[-1]


def test_interrupted_seeds_save_what_they_have_and_go_on(tmp_path: Path) -> None:
    options = ("--seeds", "2", "--run-dir", "runs", "--total-steps", "100000", "--checkpoint-every", "3")
    command = module_command("launch", "train", *RUN, *options)
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=environment())
    first = tmp_path / "runs" / "seed-0"
    deadline = time.monotonic() + 120.0
    while not (first / "checkpoints").is_dir() or not any((first / "checkpoints").iterdir()):
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60.0) == 130
    assert not our_processes()
    assert "go on with: distpolicy train --resume runs" in (tmp_path / "log").read_text()
    assert read_run(first).state == "interrupted"
    assert not (tmp_path / "runs" / "seed-1").exists()
