"""A run's config.yaml is enough to run it again, and options beside it override it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import ConfigError
from launch.cluster import session
from launch.commands.collect import parse_collect
from launch.commands.submit import parse_submit
from launch.commands.train import parse_train
from launch.config.codec import dump
from launch.config.collect import CollectConfig
from launch.config.train import TrainConfig
from launch.training.run import TrainingRun

TRAIN = TrainConfig(
    env="Acrobot-v1",
    env_kwargs={"goals": [3, 4], "render_mode": None},
    total_steps=1234,
    collectors=3,
    agent=PPOConfig(learning_rate=0.5, num_minibatches=2),
)


def written(folder: Path, config: Any) -> str:
    (folder / "config.yaml").write_text(dump(config))
    return str(folder / "config.yaml")


def test_a_training_run_s_settings_are_those_of_the_file_and_of_the_options(tmp_path: Path) -> None:
    file = written(tmp_path, TRAIN)
    assert parse_train(["--config", file]).config == TRAIN
    changed = parse_train(["--config", file, "--env", "CartPole-v1", "--ppo.learning-rate", "0.25"]).config
    agent = dataclasses.replace(TRAIN.agent, learning_rate=0.25)  # type: ignore[call-arg]
    assert changed == dataclasses.replace(TRAIN, env="CartPole-v1", agent=agent)
    other = parse_train(["--config", file, "--agent", "reinforce"]).config
    assert (other.agent.kind, other.total_steps) == ("reinforce", 1234)


def test_a_collect_job_s_settings_are_those_of_the_file_and_of_the_options(tmp_path: Path) -> None:
    config = CollectConfig(env="Acrobot-v1", steps=77, num_envs=8, policy="fixed:1")
    file = written(tmp_path, config)
    assert parse_collect(["--config", file, "--out", "x"]).config == config
    changed = parse_collect(["--config", file, "--out", "x", "--episodes", "5", "--num-envs", "16"]).config
    assert changed == dataclasses.replace(config, steps=None, episodes=5, num_envs=16)


@pytest.mark.parametrize("other", ["--preset", "--resume"])
def test_a_file_excludes_other_beginnings(tmp_path: Path, other: str) -> None:
    with pytest.raises(ConfigError, match=f"--config and {other} exclude each other"):
        parse_train(["--config", written(tmp_path, TRAIN), other, "ppo"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere"):
        parse_train(["--config", str(tmp_path / "nowhere.yaml")])
    # That of a job is on the head node.
    assert parse_submit(["auto", "train", "--config", "nowhere.yaml"])[1] == ["train", "--config", "nowhere.yaml"]


def test_a_run_directory_that_cannot_be_written_is_refused_before_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connected(*arguments: Any) -> Any:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(session, "connected", connected)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot write into .*file/run: .*Not a directory; choose another folder"):
        TrainingRun(TRAIN, run_dir=tmp_path / "file" / "run")
