"""Inputs of our own: files and folders as people name, move and read them. README.md beside this file has the table."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

import distpolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.specs import spec_from_space
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.rollout import Rollout, zero_rollout
from launch.config.evaluate import EvaluateConfig
from launch.config.train import TrainConfig
from launch.evaluation import evaluate
from launch.output.metrics import MetricsFile, read_rows
from launch.output.run_directory import RunDirectory
from launch.output.shown_paths import PathsConsole
from launch.reports.groups import grouped
from launch.reports.page_writer import page_text
from launch.reports.run_data import read_run
from workers.datasets import read_episodes
from workers.datasets.manifest import DatasetManifest
from workers.datasets.schema import DatasetSchema
from workers.datasets.shard_journal import JOURNAL, ShardRecord
from workers.datasets.writer import DatasetWriter

# As people name folders; some readers take #, %, ?, [], = and ~ for something else.
FOLDERS = ["my data", "größe", "50%20", "a#b?c", "[x]*", "lr=0.1", "~", "-v", "a.parquet"]
SCHEMA = DatasetSchema(
    ts.time_step_spec(BoundedArraySpec((2,), np.float32, -1, 1, "observation")),
    BoundedArraySpec((), np.int64, 0, 1, "action"),
    (),
)


def rollout_of_episodes(number: int) -> Rollout:
    """A slot's rollout number ``number``: two episodes of two steps, whose rewards are the number."""
    rollout = zero_rollout(SCHEMA.time_step_spec.observation, SCHEMA.action_spec, (), 1, 6)
    rollout.step_type[0] = [0, 1, 2, 0, 1, 2, 0]
    rollout.reward[:] = number
    return rollout


def written(folder: Path, num_rollouts: int) -> list[ShardRecord]:
    """The records of a dataset's shards, one for each rollout."""
    writer = DatasetWriter(folder, "collector-0", SCHEMA, rows_per_shard=1)
    records = [record for number in range(num_rollouts) for record in writer.write(rollout_of_episodes(number))]
    records += writer.flush()
    writer.close()
    return records


def manifest() -> DatasetManifest:
    begun = DatasetManifest(SCHEMA, env_id="CartPole-v1", policy="random", seed=0, num_slots=1)
    return begun.with_generation(time=1.5, seed_generation=0)


def rewards(folder: Path) -> list[float]:
    return [float(episode["reward"].sum()) for episode in read_episodes(folder)]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_dataset_may_be_in_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    manifest().with_shards(written(folder, 2)).save(folder)
    assert rewards(folder) == [0.0, 0.0, 2.0, 2.0]
    moved = tmp_path / "moved ü"
    folder.rename(moved)
    assert rewards(moved) == [0.0, 0.0, 2.0, 2.0]
    assert pd.read_parquet(moved).shape[0] == 8


def test_a_dataset_that_grows_is_read_up_to_the_last_whole_shard(tmp_path: Path) -> None:
    records = written(tmp_path, 3)
    manifest().with_shards(records).save(tmp_path)
    whole = (tmp_path / JOURNAL).read_bytes()
    # Its manifest was written when it had one shard, and a line is being added.
    manifest().with_shards(records[:1]).save(tmp_path)
    lines = whole.splitlines(keepends=True)
    for rest, expected in ((b"", 2), (lines[2][:40], 2), (lines[2], 3)):
        (tmp_path / JOURNAL).write_bytes(b"".join(lines[:2]) + rest)
        assert rewards(tmp_path) == [float(2 * number) for number in range(expected) for _ in range(2)]


def test_metrics_of_any_name_that_come_late_are_read_by_pandas(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = MetricsFile(path)
    table.write({"update": 1, "env_steps": 10, "episode_return": float("nan")})
    table.write({"update": 2, "env_steps": 20, "info/distance, left": 2.5, 'info/"big"': 1e308, "info/größe": 1e-308})
    table.close()
    frame = pd.read_csv(path)
    assert frame["update"].tolist() == [1, 2]
    assert np.isnan(frame["episode_return"][0])
    assert frame["info/distance, left"][1] == 2.5
    assert frame['info/"big"'][1] == 1e308
    assert [row["update"] for row in read_rows(path)] == ["1", "2"]


def test_a_report_shows_names_of_the_environment_as_text(tmp_path: Path) -> None:
    config = TrainConfig(env="module:<script>alert(1)</script>")
    run = RunDirectory.create(tmp_path / "run", config.env)
    run.write_config(config)
    table = MetricsFile(run.metrics_file)
    for update in (1, 2):
        row = {"update": update, "env_steps": update, "train_s": float(update)}
        table.write({**row, "info/</script><script>alert(2)</script>": update * 1e308 - 1.5e308})
    table.close()
    text = page_text(grouped([read_run(run.path)]))
    assert "&lt;script&gt;alert(1)" in text
    assert "&lt;script&gt;alert(2)" in text
    assert not re.search(r"<script>\s*alert", text)


@pytest.mark.slow
def test_a_policy_is_evaluated_wherever_its_folder_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env = gym.make("CartPole-v1")
    specs = spec_from_space(env.observation_space), spec_from_space(env.action_space)
    network = distpolicy.ActorDistributionNetwork(*specs, fc_layer_params=(4,))
    policy = distpolicy.ActorPolicy(ts.time_step_spec(specs[0]), specs[1], network)
    PolicySaver(policy, batch_size=None).save(str(tmp_path / "first"))
    config = EvaluateConfig(env="CartPole-v1", episodes=2, seed=3)
    first = evaluate(tmp_path / "first", config, PathsConsole())
    folder = tmp_path / "größe [1] #2"
    folder.mkdir()
    shutil.move(tmp_path / "first", folder / "my policy")
    monkeypatch.chdir(folder)
    assert evaluate(Path("my policy"), config, PathsConsole()).returns == first.returns
    assert "CartPole-v1: my policy, inference by" in capsys.readouterr().out
