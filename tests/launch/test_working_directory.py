"""Modules beside the command are found, and an environment cannot change the folder that paths begin in."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment

from distpolicy.errors import ConfigError
from workers.datasets.manifest import verify
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe

ROOT = Path(__file__).resolve().parents[2]
BESIDE = """
import os
import gymnasium as gym

class Env(gym.Env):
    observation_space, action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)
    def __init__(self): os.chdir("/")
    def step(self, action): ...
"""


def dry_run(folder: Path, env: str) -> subprocess.CompletedProcess[str]:
    # -P: as for the installed command, whose folder of scripts is the first on the path, and not the working directory.
    command = [sys.executable, "-P", "-m", "launch", "train", "--env", env, "--dry-run"]
    variables = environment(PYTHONPATH=str(ROOT))
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_a_module_beside_the_command_is_found_but_hides_no_installed_one(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(BESIDE)
    (tmp_path / "yaml.py").write_text("raise AssertionError('this is not the installed yaml')")
    done = dry_run(tmp_path, "beside:Env")
    assert done.returncode == 0, done.stderr


SPRINGS = """
import pathlib
(pathlib.Path(__file__).parent / "sprung").write_text(__name__)
raise ImportError("this is not the installed one")
"""


@pytest.mark.slow
def test_no_file_beside_the_command_hides_an_installed_module_from_workers(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(
        BESIDE.replace("): ...", "): return self.observation_space.sample(), 1.0, True, False, {}").replace(
            'os.chdir("/")', "pass"
        )
        + "    def reset(self, seed=None, options=None): return self.observation_space.sample(), {}\n"
    )
    for name in ("wrapt", "farama_notifications", "queue", "keras"):
        (tmp_path / f"{name}.py").write_text(SPRINGS)
    sizes = ("--collectors", "1", "--envs-per-collector", "4", "--rollout-steps", "16", "--total-steps", "200")
    command = [sys.executable, "-P", "-m", "launch", "train", "--env", "beside:Env", "--eval-episodes", "2", *sizes]
    variables = environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "sprung").exists()


@pytest.mark.skipif(importlib.util.find_spec("jax") is not None, reason="the package that lacks has to be lacking")
def test_a_file_beside_the_command_is_not_taken_for_a_package_that_a_registered_environment_lacks(
    tmp_path: Path,
) -> None:
    (tmp_path / "jax.py").write_text(SPRINGS)
    done = dry_run(tmp_path, "phys2d/CartPole-v1")
    assert "No module named 'jax'" in done.stderr
    assert not (tmp_path / "sprung").exists()


def test_a_module_that_is_nowhere_is_told_with_the_places(tmp_path: Path) -> None:
    done = dry_run(tmp_path, "nowhere:Env")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "there is no module nowhere, neither installed nor in" in line
    assert "submit --working-dir" in line


def test_a_missing_package_of_a_module_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("import simulator_that_nobody_has")
    done = dry_run(tmp_path, "beside:Env")
    assert "needs a package that is not installed: No module named 'simulator_that_nobody_has'" in done.stderr


CHANGING = """
import os
from gymnasium.envs.classic_control import CartPoleEnv

class Changing(CartPoleEnv):
    def __init__(self, where): super().__init__(); self.where = where
    def reset(self, **named): os.chdir(self.where); return super().reset(**named)
    def step(self, action): os.chdir("/"); return super().step(action)
"""


def commanded(folder: Path, *arguments: str) -> None:
    """A command that ends well, in a folder with an environment that changes the working directory."""
    (folder / "elsewhere").mkdir()
    (folder / "changing.py").write_text(CHANGING)
    options = ("--env", "changing:Changing", "--env-kwargs", f"where={folder / 'elsewhere'}")
    command = [sys.executable, "-P", "-m", "launch", *arguments, *options]
    variables = environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list((folder / "elsewhere").iterdir())


@pytest.mark.slow
def test_what_a_run_leaves_is_where_it_was_asked_for_though_its_environment_changes_the_folder(tmp_path: Path) -> None:
    sizes = ("--collectors", "1", "--envs-per-collector", "4", "--rollout-steps", "16", "--total-steps", "200")
    commanded(tmp_path, "train", "--serial", "--run-dir", "runs/mine", *sizes, "--eval-episodes", "2")
    run = tmp_path / "runs" / "mine"
    for name in ("config.yaml", "metrics.csv", "report.html", "policy/saved_model.pb"):
        assert (run / name).is_file()
    assert list((run / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_dataset_is_where_it_was_asked_for_though_its_environment_changes_the_folder(tmp_path: Path) -> None:
    commanded(tmp_path, "collect", "--out", "sets/data", "--steps", "200", "--collectors", "1", "--num-envs", "4")
    assert verify(tmp_path / "sets" / "data").num_rows >= 200


def test_an_environment_does_not_change_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "changing.py").write_text(BESIDE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    probe(EnvironmentFactory("changing:Env"))
    assert Path.cwd() == tmp_path
    with pytest.raises(ConfigError):
        probe(EnvironmentFactory("changing:Env", kwargs={"unknown": 1}))
    assert Path.cwd() == tmp_path
