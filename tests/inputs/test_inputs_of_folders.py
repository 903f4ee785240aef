"""Inputs of our own: run directories and datasets that people edit, copy and name. README.md has the table."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import habit_envs as envs
import numpy as np
import pandas as pd
import pytest

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import ConfigError, DistPolicyWarning
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs import spec_from_space
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.rollout import zero_rollout
from distpolicy.utils.nests.array_nest import flatten, paths
from launch.config.train import TrainConfig
from launch.output.growing_table import GrowingTable, read_table
from launch.output.metrics import MetricsFile, read_rows
from launch.output.run_directory import check_free
from launch.output.writable import check_writable
from launch.training.run import TrainingRun
from workers.datasets import read_episodes
from workers.datasets.manifest import DatasetManifest
from workers.datasets.schema import DatasetSchema
from workers.datasets.writer import DatasetWriter

S = gym.spaces
Edit = Callable[[str], str]

# Tables that a spreadsheet or an editor has saved, before a run goes on


def with_mark(text: str) -> str:
    """As spreadsheets save it: "CSV UTF-8", and lines that end as on Windows."""
    return "\ufeff" + text.replace("\r\n", "\n").replace("\n", "\r\n")


def with_notes(text: str) -> str:
    """With a column more."""
    first, *rows = text.splitlines()
    return "".join(f"{line}\n" for line in [f"{first},notes", *(f"{row},looks good" for row in rows)])


def with_semicolons(text: str) -> str:
    """As spreadsheets of many countries save it."""
    return text.replace(",", ";")


def edited(path: Path, edit: Edit) -> bytes:
    data = edit(path.read_bytes().decode()).encode()
    path.write_bytes(data)
    return data


def write_metrics(path: Path, updates: range) -> None:
    table = MetricsFile(path, first_update=updates.start)
    for update in updates:
        table.write({"update": update, "env_steps": 10 * update, "loss": 0.5})
    table.close()


def write_evaluations(path: Path, updates: range) -> None:
    table = GrowingTable(path, ("update", "mean"), lambda row: float(row["update"]) < updates.start)
    for update in updates:
        table.add({"update": update, "mean": update / 2})
    table.close()


def test_tables_that_a_spreadsheet_has_saved_keep_their_rows(tmp_path: Path) -> None:
    metrics, evaluations = tmp_path / "metrics.csv", tmp_path / "evaluations.csv"
    write_metrics(metrics, range(1, 4))
    write_evaluations(evaluations, range(1, 4))
    for path in (metrics, evaluations):
        edited(path, with_mark)
    assert [row["mean"] for row in read_table(evaluations)] == ["0.5", "1", "1.5"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_metrics(metrics, range(3, 5))
        write_evaluations(evaluations, range(3, 5))
    assert [row["env_steps"] for row in read_rows(metrics)] == ["10", "20", "30", "40"]
    assert [row["mean"] for row in read_table(evaluations)] == ["0.5", "1", "1.5", "2"]
    assert pd.read_csv(metrics)["update"].tolist() == [1, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluations.csv", "metrics.csv"]


@pytest.mark.parametrize(
    ("edit", "kept"),
    [
        (with_notes, ["0.5", "1", "1.5"]),
        (with_semicolons, []),
        (lambda text: text.replace("2,", "two,"), ["0.5", "1.5"]),
    ],
)
def test_what_a_run_does_not_understand_is_kept_beside_the_table(edit: Edit, kept: list[str], tmp_path: Path) -> None:
    path = tmp_path / "evaluations.csv"
    write_evaluations(path, range(1, 4))
    changed = edited(path, edit)
    with pytest.warns(
        DistPolicyWarning, match=r"evaluations\.csv was changed: .* kept as it was in evaluations\.old\.csv"
    ):
        write_evaluations(path, range(4, 6))
    assert (tmp_path / "evaluations.old.csv").read_bytes() == changed
    assert [row["mean"] for row in read_table(path)] == [*kept, "2", "2.5"]
    # It is told once, and another change has a copy of its own.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_evaluations(path, range(6, 7))
    edited(path, with_notes)
    with pytest.warns(DistPolicyWarning, match=r"evaluations\.old-2\.csv"):
        write_evaluations(path, range(7, 8))
    assert (tmp_path / "evaluations.old.csv").read_bytes() == changed


@pytest.mark.parametrize("edit", [with_notes, with_semicolons, lambda text: ""])
def test_so_are_metrics_whose_rows_are_all_lost(edit: Edit, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_metrics(path, range(1, 4))
    changed = edited(path, edit)
    with pytest.warns(DistPolicyWarning, match=r"lacks 3 of 3 updates, .* it is kept as it was in metrics\.old\.csv"):
        write_metrics(path, range(4, 6))
    assert (tmp_path / "metrics.old.csv").read_bytes() == changed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_metrics(path, range(6, 7))
    found = [(row["update"], row["env_steps"]) for row in read_rows(path)]
    assert found == [("1", ""), ("2", ""), ("3", ""), ("4", "40"), ("5", "50"), ("6", "60")]


# Names


def test_a_folder_that_cannot_be_one_is_told_by_the_python_interface(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, told in (
        ("x" * 300, "File name too long"),
        (os.fsdecode(b"\xff"), "is not in UTF-8"),
        ("file/run", "Not a directory"),
    ):
        with pytest.raises(ConfigError, match=told):
            check_writable(tmp_path / name)
    for name, told in (("x" * 300, "File name too long"), (os.fsdecode(b"\xff"), "UTF-8"), ("file", "exists: choose")):
        with pytest.raises(ConfigError, match=told):
            check_free(tmp_path / name)


ODD_KEYS = {"": 3, "a/b": 4, "a.b": 5, "%": 6, "größe 🙂": 7, "observation": 8, " ": 9, "a\nb": 10}
KINDS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


def test_a_dataset_has_every_number_of_every_dtype_under_every_name(tmp_path: Path) -> None:
    observation = S.Dict(
        {np.dtype(kind).name: S.Box(np.iinfo(kind).min, np.iinfo(kind).max, (3,), kind) for kind in KINDS}
        | {np.dtype(kind).name: S.Box(-np.inf, np.inf, (5,), kind) for kind in (np.float16, np.float32, np.float64)}
        | {"bool": S.Box(0, 1, (2,), np.bool_), "a": S.Dict({"b": S.Discrete(11)})}
        | {name: S.Discrete(number) for name, number in ODD_KEYS.items()}
    )
    action = S.Dict(
        {"far": S.Discrete(3, start=2**40), "u": S.Box(0, 2**64 - 1, (1,), np.uint64), "reward": S.Discrete(2)}
    )
    specs = ts.time_step_spec(spec_from_space(observation, "observation")), spec_from_space(action, "action")
    schema = DatasetSchema(*specs, ())
    rollout = zero_rollout(specs[0].observation, specs[1], (), 1, 4, 0)
    rollout.step_type[0] = [0, 1, 1, 1, 2]
    rollout.reward[0] = [1e-45, -0.0, 3.4e38, 0.1]
    for leaf in (*flatten(rollout.observation), *flatten(rollout.action)):
        leaf[...] = np.resize(ends_of(leaf.dtype), leaf.shape)
    writer = DatasetWriter(tmp_path, "collector-0", schema, rows_per_shard=100)
    records = writer.write(rollout) + writer.flush()
    writer.close()
    begun = DatasetManifest(schema, env_id="x", policy="random", seed=0, num_slots=1)
    begun.with_generation(time=1.5, seed_generation=0).with_shards(records).save(tmp_path)
    (episode,) = read_episodes(tmp_path)
    assert episode["reward"].tobytes() == rollout.reward[0].tobytes()
    for name, nest in (("observation", rollout.observation), ("action", rollout.action)):
        assert paths(episode[name]) == paths(nest)
        for path, found, expected in zip(paths(nest), flatten(episode[name]), flatten(nest), strict=True):
            assert (found.dtype, found.tobytes()) == (expected.dtype, expected[0, : len(found)].tobytes()), path
    assert pd.read_parquet(tmp_path).shape[0] == 4


def ends_of(dtype: np.dtype) -> np.ndarray:
    """The numbers at the ends of a dtype, and those next to 0."""
    if dtype.kind == "b":
        return np.array([True, False, False])
    if dtype.kind == "f":
        info = np.finfo(dtype)
        return np.array([info.max, info.min, info.smallest_subnormal, -0.0, info.eps], dtype)
    whole = np.iinfo(dtype)
    return np.array([whole.max, whole.min, 1], dtype)


# A whole run


@pytest.mark.slow
def test_a_run_goes_on_in_a_copy_with_another_name_through_a_link(tmp_path: Path) -> None:
    def trained(total_steps: int, run_dir: Path | None = None, resume: Path | None = None) -> Path:
        config = TrainConfig(
            collectors=1,
            envs_per_collector=2,
            rollout_steps=8,
            total_steps=total_steps,
            jit_compile=False,
            compile_cache=False,
            eval_episodes=2,
            eval_every=1,
            checkpoint_every=2,
            agent=PPOConfig(num_minibatches=1, num_epochs=1, value_units=(4,)),
            network=NetworkConfig(actor_units=(4,)),
        )
        with TrainingRun(config, run_dir=run_dir, resume=resume, serial=True, env=envs.Base) as run:
            list(run)
            return run.directory.path

    first = trained(28, tmp_path / "100% größe\n#2 %s $HOME `x`")
    before = read_rows(first / "metrics.csv")
    assert [row["update"] for row in before] == ["1", "2"]
    moved = tmp_path / "moved"
    # As clouds and USB sticks give it back: other permissions, new times, no links.
    shutil.copytree(first, moved, copy_function=shutil.copyfile)
    shutil.rmtree(first)
    for path in moved.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for name in ("metrics.csv", "evaluations.csv"):
        edited(moved / name, with_mark)
    link = tmp_path / "link"
    link.symlink_to(moved)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DistPolicyWarning)
        trained(64, resume=link)
    rows = read_rows(moved / "metrics.csv")
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    assert [(row["env_steps"], row["loss"]) for row in rows[:2]] == [(row["env_steps"], row["loss"]) for row in before]
    assert int(rows[-1]["env_steps"]) >= 64
    assert len({row["update"] for row in read_table(moved / "evaluations.csv")}) == len(rows)
    assert (moved / "policy" / "saved_model.pb").is_file()
