"""A dataset is gone on with only in the environment that it was collected in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distpolicy.errors import ConfigError
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import time_step_spec
from launch.collection.resume import StartingPoint
from launch.collection.run import CollectionRun
from launch.config.codec import dump
from launch.config.collect import CollectConfig
from launch.config.seal import sealed
from workers.datasets.manifest import DatasetManifest
from workers.datasets.schema import DatasetSchema
from workers.environments.atari import AtariConfig

CONFIG = CollectConfig(
    env="CartPole-v1", env_kwargs={"sutton_barto_reward": True}, steps=100, num_envs=2, vectorization="sync"
)
SCHEMA = DatasetSchema(
    time_step_spec(BoundedArraySpec((4,), np.float32, -3.0, 3.0)), BoundedArraySpec((), np.int64, 0, 1)
)


def dataset(folder: Path, config: CollectConfig) -> Path:
    """A dataset without steps, as a job with this config begins it."""
    folder.mkdir()
    kwargs = dict(config.env_kwargs)
    DatasetManifest(SCHEMA, config.env, config.policy, config.seed, config.num_envs, kwargs).save(folder)
    (folder / "_config.yaml").write_text(sealed(dump(config)))
    return folder


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"env_kwargs": {}}, r"env_kwargs {'sutton_barto_reward': True}, and not with {}"),
        ({"wrappers": ("gymnasium.wrappers.FlattenObservation",)}, r"wrappers \[\], and not with \['gymnasium.*\]"),
        ({"atari": AtariConfig(screen_size=42)}, "atari {.*84.*}, and not with {.*42.*}"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_environment_is_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    folder = dataset(tmp_path / "data", CONFIG)
    with pytest.raises(ConfigError, match=f"data was collected with {told}: go on with these, or choose another"):
        StartingPoint.after(folder, dataclasses.replace(CONFIG, **changes))


def test_a_run_says_so_before_it_starts_anything(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "data", CONFIG)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConfigError, match="data was collected with env_kwargs"):
        CollectionRun(dataclasses.replace(CONFIG, env_kwargs={}), folder, resume=True)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_the_same_environment_is_gone_on_with_whatever_else_has_changed(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, env_kwargs={"sizes": (1, 2), "a": None})
    folder = dataset(tmp_path / "data", config)
    changed = dataclasses.replace(config, steps=200, collectors=1, rollout_steps=8, step_timeout_s=5.0)
    assert list(StartingPoint.after(folder, changed).next_steps) == [0, 0]
