"""Settings of runs that learn from a dataset, and the environment that they take from it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from distpolicy.agents.cql.config import CQLConfig
from distpolicy.errors import ConfigError
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import time_step_spec
from launch.commands.train import parse_train
from launch.config.codec import dump
from launch.config.collect import CollectConfig
from launch.config.presets import load_preset
from launch.config.run_specs import run_specs
from launch.config.seal import sealed
from launch.config.train import TrainConfig
from workers.datasets.manifest import DatasetManifest
from workers.datasets.schema import DatasetSchema

CARTPOLE = DatasetSchema(
    time_step_spec(BoundedArraySpec((4,), np.float32, -3.0, 3.0)), BoundedArraySpec((), np.int64, 0, 1)
)
BC = BehavioralCloningConfig()


def dataset(folder: Path, env: str = "CartPole-v1", is_own: bool = True, **settings: Any) -> str:
    """A dataset without steps, of which the files say this environment."""
    folder.mkdir()
    DatasetManifest(CARTPOLE, env, "random", 0, 1).save(folder)
    text = dump(CollectConfig(env=env, **settings))
    (folder / "_config.yaml").write_text(sealed(text) if is_own else text)
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_policy_lag": 1}, "max_policy_lag is not for bc: the data are there before the run"),
        ({"rollout_order": "arrival"}, "rollout_order is not for bc: no rollouts are collected"),
        ({"inference": "server"}, "inference is not for bc: no rollouts are collected"),
        ({"target_return": 475.0}, "target_return needs eval_every with bc: no other episodes are played"),
        ({"dataset": ("",)}, "empty path"),
    ],
)
def test_settings_without_a_meaning_are_refused_with_the_reason(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TrainConfig(agent=BC, **changes)


def test_a_dataset_is_refused_for_an_agent_that_does_not_learn_from_it() -> None:
    with pytest.raises(ConfigError, match="dataset is for agents that learn from data, and not for ppo"):
        TrainConfig(dataset=("data",))


def test_folders_are_resolved_when_the_command_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    config = parse_train(["--agent", "bc", "--dataset", "data"]).config
    os.chdir("/")
    assert config.dataset == (str(tmp_path / "data"),)
    assert config.step_unit == "gradient steps"


def test_the_environment_is_the_datasets_unless_another_is_given(tmp_path: Path) -> None:
    folder = dataset(
        tmp_path / "data", env="Acrobot-v1", env_kwargs={"a": 1}, wrappers=("gymnasium.wrappers.FlattenObservation",)
    )
    start = ["--agent", "bc", "--dataset", folder]
    config = parse_train(start).config
    assert (config.env, config.env_kwargs) == ("Acrobot-v1", {"a": 1})
    assert config.wrappers == ("gymnasium.wrappers.FlattenObservation",)
    assert parse_train([*start, "--env-kwargs", "a", "2"]).config.env_kwargs == {"a": 2}
    assert parse_train([*start, "--env-kwargs", "b", "2"]).config.env_kwargs == {"a": 1, "b": 2}
    assert parse_train([*start, "--env", "CartPole-v1"]).config.env_kwargs == {}


def test_the_environment_of_a_strangers_dataset_is_run_only_if_it_is_named(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "data", env="strange:Env", is_own=False)
    start = ["--agent", "bc", "--dataset", folder]
    with pytest.raises(ConfigError, match="names env strange:Env, and you have not written this file"):
        parse_train(start)
    assert parse_train([*start, "--env", "strange:Env"]).config.env == "strange:Env"
    assert parse_train([*start, "--eval-episodes", "0"]).config.env == "CartPole-v1"


def test_the_manifest_says_which_environment_it_is_if_there_is_no_config(tmp_path: Path) -> None:
    folders = [dataset(tmp_path / env.replace(":", "-"), env=env) for env in ("Acrobot-v1", "strange:Env")]
    for folder in folders:
        (Path(folder) / "_config.yaml").unlink()
    configs = [parse_train(["--agent", "bc", "--dataset", folder]).config for folder in folders]
    # Code is named by the user, and not by a file.
    assert [config.env for config in configs] == ["Acrobot-v1", "CartPole-v1"]


def test_without_a_dataset_the_run_says_what_to_give(tmp_path: Path) -> None:
    config = parse_train(["--agent", "bc"]).config
    with pytest.raises(ConfigError, match="bc learns from data: give --dataset FOLDER"):
        run_specs(config, config.environment_factory)
    with pytest.raises(ConfigError, match=r"dataset .*nowhere is not a dataset: there is no _manifest.json"):
        parse_train(["--agent", "bc", "--dataset", str(tmp_path / "nowhere")])


def test_no_environment_is_made_if_there_are_no_evaluations(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "data")
    config = TrainConfig(env="nowhere:Nothing", agent=BC, dataset=(folder,), eval_episodes=0)
    assert not config.uses_collectors
    specs = run_specs(config, config.environment_factory)
    assert (specs.time_step.observation.shape, specs.action.shape) == ((4,), ())


def test_an_environment_with_other_actions_is_refused(tmp_path: Path) -> None:
    config = TrainConfig(env="MountainCar-v0", agent=BC, dataset=(dataset(tmp_path / "data"),))
    with pytest.raises(ConfigError, match=r"MountainCar-v0 has the observation float32\[2\], and .*data has float32"):
        run_specs(config, config.environment_factory)


def test_an_environment_with_more_actions_is_refused(tmp_path: Path) -> None:
    """MountainCar has three actions, and observations like those of these data."""
    folder = tmp_path / "data"
    folder.mkdir()
    schema = DatasetSchema(
        time_step_spec(BoundedArraySpec((2,), np.float32, -3.0, 3.0)), BoundedArraySpec((), np.int64, 0, 1)
    )
    DatasetManifest(schema, "MountainCar-v0", "random", 0, 1).save(folder)
    config = TrainConfig(env="MountainCar-v0", agent=BC, dataset=(str(folder),))
    with pytest.raises(ConfigError, match=r"has the action int64\[\] from 0 to 2, and .* has int64\[\] from 0 to 1"):
        run_specs(config, config.environment_factory)


@pytest.mark.parametrize(
    "changes",
    [
        {"learn_cql_alpha": True},
        {"cql_tau": 5.0},
        {"num_bc_steps": 100},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_for_floats_are_refused_with_a_discrete_action(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = dataset(tmp_path / "data")
    (name,) = changes
    config = TrainConfig(agent=CQLConfig(**changes), dataset=(folder,), eval_episodes=0)
    with pytest.raises(ConfigError, match=rf"^cql\.{name} is for actions of floats: leave it at "):
        run_specs(config, config.environment_factory)
    # The preset is for any dataset.
    config = dataclasses.replace(load_preset("cql"), dataset=(folder,), eval_episodes=0)
    assert run_specs(config, config.environment_factory).action == CARTPOLE.action_spec


def test_a_weight_that_is_learned_cannot_begin_at_0() -> None:
    with pytest.raises(ConfigError, match=r"cql\.cql_alpha must be above 0 with learn_cql_alpha, but is 0"):
        CQLConfig(learn_cql_alpha=True, cql_alpha=0.0)
    assert CQLConfig(cql_alpha=0.0).cql_alpha == 0.0
