"""`distpolicy train` as a user runs it: as a subprocess, on a Ray of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import (
    QUICK,
    distpolicy,
    environment,
    newest_checkpoint,
    our_processes,
    read_metrics,
)


def open_ports() -> list[str]:
    """Addresses beyond loopback at which those processes listen, in the kernel's hexadecimal form."""
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address = fields[1].split(":")[0]
            if fields[3] == "0A" and not address.endswith("0100007F") and address != "0" * 24 + "01000000":
                listening[f"socket:[{fields[9]}]"] = fields[1]
    found = []
    for folder in our_processes():
        with contextlib.suppress(OSError):
            for descriptor in (folder / "fd").iterdir():
                with contextlib.suppress(OSError):
                    found += [listening[target] for target in [os.readlink(descriptor)] if target in listening]
    return found


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run directory and output of `distpolicy train` without any option but the directory and the seed."""
    folder = tmp_path_factory.mktemp("solved")
    result = distpolicy("train", "--run-dir", "run", "--seed", "1", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run", result.stdout


def test_train_without_options_solves_cartpole_through_ray(solved: tuple[Path, str]) -> None:
    run, output = solved
    assert "solved: mean return" in output
    assert "2 collectors x 32 envs" in output
    last = read_metrics(run)[-1]
    assert float(last["return_mean_100"]) >= 475
    assert int(last["env_steps"]) < 200_000


def test_evaluation_on_fresh_seeds_confirms_the_solution(solved: tuple[Path, str]) -> None:
    line = next(
        line for line in solved[1].splitlines() if line.startswith("evaluation of the greedy policy: 100 episodes")
    )
    assert float(line.split("mean return ")[1].split()[0]) >= 475


def test_every_update_learned_from_the_newest_weights(solved: tuple[Path, str]) -> None:
    assert {float(row["policy_lag"]) for row in read_metrics(solved[0])} == {0.0}


def test_run_directory_holds_what_the_readme_lists(solved: tuple[Path, str]) -> None:
    run = solved[0]
    assert (run / "config.yaml").is_file()
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    assert (run / "policy" / "saved_model.pb").is_file()
    assert list(run.glob("events.out.tfevents.*"))
    manifest = json.loads((newest_checkpoint(run) / "manifest.json").read_text())
    assert manifest["totals"]["solved"] is True


def test_output_tells_start_up_memory_and_the_run_directory(solved: tuple[Path, str]) -> None:
    output = solved[1]
    assert "first env step after" in output
    assert "peak memory: driver" in output
    assert output.strip().splitlines()[-1] == "run directory: run"


def test_exported_policy_balances_the_pole_without_distpolicy(solved: tuple[Path, str]) -> None:
    script = (
        "import sys; sys.modules['distpolicy'] = None\n"
        "import gymnasium, numpy as np, tensorflow as tf\n"
        f"model = tf.saved_model.load({str(solved[0] / 'policy')!r})\n"
        "env = gymnasium.make('CartPole-v1'); observation, _ = env.reset(seed=5); total = 0.0; over = False\n"
        "act = model.signatures['action']\n"
        "while not over:\n"
        "    step = act(**{'0/step_type': tf.constant([1]), '0/reward': tf.constant([0.0]),\n"
        "                  '0/discount': tf.constant([1.0]), '0/observation': tf.constant(observation[None])})\n"
        "    observation, reward, terminated, truncated, _ = env.step(int(step['action'][0]))\n"
        "    total += reward; over = terminated or truncated\n"
        "print(total)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == 500.0


def test_a_complete_run_is_not_resumed(solved: tuple[Path, str]) -> None:
    result = distpolicy("train", "--resume", str(solved[0]), cwd=solved[0].parent)
    assert result.returncode == 2
    assert "is complete" in result.stderr


def training(folder: Path) -> subprocess.Popen[str]:
    """A command that trains in the folder `run`, and has begun to."""
    command = [sys.executable, "-m", "launch", "train", "--run-dir", "run", "--env", "CartPole-v1", *QUICK]
    command += ["--total-steps", "100000000", "--target-return", "None"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("env steps"):
            break
    return process


def has_policies(run: Path) -> bool:
    return all((run / name / "saved_model.pb").is_file() for name in ("policy", "collect_policy"))


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_terminal_that_is_closed_leaves_a_checkpoint_and_a_policy(tmp_path: Path) -> None:
    process = training(tmp_path)
    process.send_signal(signal.SIGHUP)
    output, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGHUP, errors
    assert "Traceback" not in output + errors
    manifest = json.loads((newest_checkpoint(tmp_path / "run") / "manifest.json").read_text())
    assert manifest["totals"]["updates"] == int(read_metrics(tmp_path / "run")[-1]["update"])
    assert has_policies(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_run_opens_no_port_and_its_interrupt_leaves_a_checkpoint_that_resume_goes_on_from(tmp_path: Path) -> None:
    process = training(tmp_path)
    assert len(our_processes()) > 5
    assert not open_ports()
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "go on with: distpolicy train --resume run" in output
    assert "Traceback" not in output + errors
    assert has_policies(tmp_path / "run")
    manifest = json.loads((newest_checkpoint(tmp_path / "run") / "manifest.json").read_text())
    interrupted_at = manifest["totals"]["updates"]
    assert interrupted_at == int(read_metrics(tmp_path / "run")[-1]["update"])
    assert interrupted_at == int(np.load(newest_checkpoint(tmp_path / "run") / "learner.npz")["learner/version"])

    other = distpolicy("train", "--resume", "run", "--network.actor-units", "9", cwd=tmp_path)
    assert other.returncode == 2
    assert "another architecture: policy/actor_network" in other.stderr

    steps = manifest["totals"]["env_steps"] + 200
    resumed = distpolicy("train", "--resume", "run", "--total-steps", str(steps), "--eval-episodes", "0", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    updates = [int(row["update"]) for row in read_metrics(tmp_path / "run")]
    assert updates == list(range(1, len(updates) + 1))
    assert len(updates) > interrupted_at
    assert json.loads((newest_checkpoint(tmp_path / "run") / "manifest.json").read_text())["generation"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--env", "Nope-v0"), "unknown env 'Nope-v0'"),
        (("--collectors", "1000"), "lower --collectors"),
        (("--envs-per-collector", "0"), "envs_per_collector must be 1 or more"),
        (("--envs-per-collector", "many"), "--envs-per-collector"),
        (("--no-such-option",), "no-such-option"),
        (("--preset", "nope"), "unknown preset 'nope'"),
        (("--ppo.discount", "1.5"), "ppo.discount must be in [0, 1]"),
        (("--ppo.num-minibatches", "7"), "does not divide"),
        (("--env-kwargs", "nonsense", "1"), "does not take the arguments"),
        (("--run-dir", "taken"), "run directory taken exists"),
        (("--resume", "nowhere"), "nowhere is not a run directory"),
        (("--address", "127.0.0.1:1"), "no Ray cluster at 127.0.0.1:1"),
    ],
)
@pytest.mark.usefixtures("no_process_left")
def test_bad_input_ends_with_one_line_and_code_2(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    result = distpolicy("train", *arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stdout + result.stderr
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not result.stdout
    assert {item.name for item in tmp_path.iterdir()} == {"taken"}


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_an_env_that_returns_nan_ends_with_one_line_and_code_1(tmp_path: Path) -> None:
    (tmp_path / "nan_env.py").write_text(
        "import gymnasium as gym, numpy as np\n"
        "class NanEnv(gym.Env):\n"
        "    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)\n"
        "    action_space = gym.spaces.Discrete(2)\n"
        "    steps = 0\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        return np.zeros(2, np.float32), {}\n"
        "    def step(self, action):\n"
        "        self.steps += 1\n"
        "        return np.full(2, np.nan if self.steps > 40 else 0.0, np.float32), 0.0, False, False, {}\n"
        "gym.register('Nan-v0', NanEnv)\n"
    )
    result = distpolicy(
        "train", "--env", "nan_env:Nan-v0", "--run-dir", "run", *QUICK, cwd=tmp_path, PYTHONPATH=str(tmp_path)
    )
    assert result.returncode == 1
    error = result.stderr.strip().splitlines()
    assert len(error) == 1, error
    assert "returned NaN or infinity as observation" in error[0]
    assert "collector 0, env slot 0, step 40" in error[0]


def test_help_and_version_answer(tmp_path: Path) -> None:
    help_text = distpolicy("train", "--help", cwd=tmp_path)
    assert help_text.returncode == 0
    assert "--ppo.learning-rate" in help_text.stdout
    assert distpolicy("--version", cwd=tmp_path).stdout.startswith("distpolicy ")
    assert distpolicy("nonsense", cwd=tmp_path).returncode == 2


def test_a_reader_that_has_gone_costs_one_line_at_most(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "launch", "train", "--help"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1
