"""A config.yaml of others may not choose which code runs."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest
from rich.console import Console

from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.errors import ConfigError
from launch.commands.collect import parse_collect
from launch.commands.train import parse_train
from launch.config.codec import dump
from launch.config.collect import CollectConfig
from launch.config.evaluate import EvaluateConfig
from launch.config.seal import check_names_of_code, sealed
from launch.config.train import TrainConfig, load_train_config
from launch.evaluation import evaluate
from launch.output.run_directory import RunDirectory
from launch.training.run import TrainingRun

WRAPPER = "gymnasium.wrappers.FlattenObservation"


@pytest.fixture(autouse=True)
def settings_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the user's key."""
    folder = tmp_path_factory.mktemp("settings")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder


def write(folder: Path, config: TrainConfig | CollectConfig) -> Path:
    path = folder / "config.yaml"
    path.write_text(dump(config))
    return path


def config_with(**settings: object) -> TrainConfig:
    return dataclasses.replace(TrainConfig(), **settings)  # type: ignore[arg-type]


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A run directory of others, whose environment runs a command."""
    (tmp_path / "policy").mkdir()
    write(tmp_path, config_with(env="subprocess:Popen", env_kwargs={"args": f"touch {tmp_path}/sprung", "shell": True}))
    return tmp_path


def test_evaluate_and_resume_do_not_run_what_a_strangers_file_names(trap: Path) -> None:
    named = "names env subprocess:Popen.*give --env subprocess:Popen"
    with pytest.raises(ConfigError, match=named):
        evaluate(trap, EvaluateConfig(), Console())
    with pytest.raises(ConfigError, match=named):
        parse_train(["--resume", str(trap)])
    with pytest.raises(ConfigError, match=named):
        TrainingRun(resume=trap)
    write(trap, dataclasses.replace(CollectConfig(), env="subprocess:Popen"))
    with pytest.raises(ConfigError, match=named):
        parse_collect(["--resume", str(trap)])
    assert not (trap / "sprung").exists()


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (config_with(wrappers=(WRAPPER,)), "wrappers"),
        (config_with(agent=CustomAgentConfig("mine:make")), "agent"),
        (config_with(address="10.0.0.1:6379"), "address"),
        (CollectConfig(policy="their/policy"), "policy"),
        (CollectConfig(wrappers=(WRAPPER,)), "wrappers"),
    ],
)
def test_each_setting_that_names_code_is_asked_for(
    config: TrainConfig | CollectConfig, name: str, tmp_path: Path
) -> None:
    path = write(tmp_path, config)
    with pytest.raises(ConfigError, match=f"names {name} "):
        check_names_of_code(path, config)
    check_names_of_code(path, config, {name, "custom.folder"})


def test_the_folder_of_a_strangers_agent_is_not_searched(tmp_path: Path) -> None:
    write(tmp_path, config_with(agent=CustomAgentConfig("mine:make", folder="/their/folder")))
    arguments = ["--resume", str(tmp_path), "--agent", "mine:make"]
    with pytest.raises(ConfigError, match=r"names custom\.folder /their/folder"):
        parse_train(arguments)
    parsed = parse_train([*arguments, "--custom.folder", "mine"])
    assert isinstance(parsed.config.agent, CustomAgentConfig)
    assert parsed.config.agent.folder == "mine"


@pytest.mark.parametrize(
    "config", [TrainConfig(), CollectConfig(), CollectConfig(policy="fixed:1"), config_with(address="auto")]
)
def test_registered_environments_are_taken_from_any_file(config: TrainConfig | CollectConfig, tmp_path: Path) -> None:
    check_names_of_code(write(tmp_path, config), config)


def test_environments_of_ones_own_runs_need_no_option(tmp_path: Path) -> None:
    config = config_with(env="mine:Env", wrappers=(WRAPPER,), agent=CustomAgentConfig("mine:make"))
    run = RunDirectory.create(tmp_path / "run", "mine:Env")
    run.write_config(config)
    assert load_train_config(run.config_file) == config
    check_names_of_code(run.config_file, config)
    # Wherever it is moved to.
    os.rename(run.path, tmp_path / "moved")
    assert parse_train(["--resume", str(tmp_path / "moved")]).config == config


def test_a_changed_file_has_no_seal(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    config = config_with(env="subprocess:Popen")
    path.write_text(sealed(dump(config_with(env="mine:Env"))).replace("mine:Env", "subprocess:Popen"))
    with pytest.raises(ConfigError, match="it was changed"):
        check_names_of_code(path, config)


def test_the_key_is_the_users_alone(settings_folder: Path, tmp_path: Path) -> None:
    path, config = tmp_path / "config.yaml", config_with(env="mine:Env")
    path.write_text(sealed(dump(config)))
    key = settings_folder / "distpolicy" / "seal_key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    check_names_of_code(path, config)
    # Pytest's own folders let nobody in, so that nobody reads the key; but whoever may write can set another one.
    key.chmod(0o602)
    with pytest.raises(ConfigError, match="names env"):
        check_names_of_code(path, config)
    path.write_text(sealed(dump(config)))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    check_names_of_code(path, config)


def test_without_a_place_for_the_key_a_run_is_written_as_a_strangers(settings_folder: Path, tmp_path: Path) -> None:
    (settings_folder / "distpolicy").write_text("a file")
    path, config = tmp_path / "config.yaml", config_with(env="mine:Env")
    path.write_text(sealed(dump(config)))
    assert path.read_text() == dump(config)
    with pytest.raises(ConfigError, match="names env"):
        check_names_of_code(path, config)
